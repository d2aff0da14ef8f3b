"""No server at all, but what one cannot do without: it reads WebSocket frames and writes ready-made ones.

`python -m loadtest.bench.servers.bare PORT`. It understands the benchmark's own packets by their first bytes, checks
nothing, and has no heartbeat, no polling and no Redis. What it costs is what the sockets cost, with one write for each
frame. A server that joins several frames into one write can be cheaper. So can one that shares its parsers: here each
connection has a parser of picows, which is nearly all of the memory that it takes.
"""

import asyncio
import itertools
import json
import sys
import time
from typing import Any

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from loadtest.bench.servers.handlers import PADDING

_numbers = itertools.count()
_rooms: dict[str, list[WSTransport]] = {}


class Connection(WSListener):
    """One client."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        opening = {"sid": f"{next(_numbers)}", "upgrades": [], "pingInterval": 300_000, "pingTimeout": 20_000}
        transport.send(WSMsgType.TEXT, b"0" + json.dumps(opening).encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.TEXT:
            transport.disconnect()
            return
        packet = frame.get_payload_as_bytes()
        if packet.startswith(b"40"):
            transport.send(WSMsgType.TEXT, b'40{"sid":"%d"}' % next(_numbers))
            return
        bracket = packet.index(b"[")
        name, argument = packet[bracket:].split(b",", 1)
        ack = b"43" + packet[2:bracket]
        if name == b'["echo"':
            transport.send(WSMsgType.TEXT, ack + b"[" + argument)
            return
        self._act(name, json.loads(argument[:-1]), transport)
        transport.send(WSMsgType.TEXT, ack + b"[true]")

    def _act(self, name: bytes, argument: Any, transport: WSTransport) -> None:
        if name == b'["join"':
            for room in argument:
                _rooms.setdefault(room, []).append(transport)
        elif name == b'["say"':
            _write(argument, 0)
        elif name == b'["volley"':
            for number in range(argument["burst"]):
                _write(argument["room"], number)
        elif name == b'["blast"':
            _tasks.add(asyncio.create_task(_blast(argument)))


_tasks: set[asyncio.Task[None]] = set()


async def _blast(order: dict[str, Any]) -> None:
    number = 0
    for _ in range(order["bursts"]):
        for _ in range(order["burst"]):
            _write(order["room"], number)
            number += 1
        await asyncio.sleep(order["pause_s"])


def _write(room: str, number: int) -> None:
    news = b"42" + json.dumps(["news", {"ts": time.time(), "i": number, "pad": PADDING}]).encode()
    for transport in _rooms.get(room, ()):
        transport.send(WSMsgType.TEXT, news)


async def _serve(port: int) -> None:
    def accept(request: WSUpgradeRequest) -> WSListener:
        return Connection()

    server = await ws_create_server(accept, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
