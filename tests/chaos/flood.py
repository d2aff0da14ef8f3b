"""One client that sends events as fast as TCP takes them, until it is killed: `python flood.py URL`. Its own process,
so that its work is not the other clients'."""

import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conformance.raw import TEXT, frame, upgrade_request

PIECE = frame(TEXT, b'42["idle",1]') * 200


def main(url: str) -> None:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as wire:
        wire.sendall(upgrade_request(url))
        wire.sendall(frame(TEXT, b'40{"client":900000}'))
        heard = b""
        while b"40{" not in heard:
            heard += wire.recv(65_536)
        print("in", flush=True)
        while True:
            wire.sendall(PIECE)


if __name__ == "__main__":
    main(sys.argv[1])
