"""What a node says about itself in the registry for those who watch the cluster."""

import os
import socket
import time
from collections.abc import Mapping
from importlib.metadata import version

import msgspec

WATCHED = "watched"
"""In the info of an app-node: somebody watches the cluster, so io-nodes say their figures."""
_FIGURES = "figures"


def about_this_process() -> dict[str, str]:
    """What does not change while a node lives: its host, its process id, its release, and since when it runs, in
    seconds since 1970 by its own clock."""
    return {
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "release": version("sio-cluster-shared"),
        "since": str(int(time.time())),
    }


class Figures(msgspec.Struct, frozen=True):
    """The figures of an io-node, at one heartbeat. `opened` and all below are totals since it started.

    `namespaces`: how many clients of each it holds. `closed`: connections that are gone, by reason. Packets are events,
    answers, and messages to clients.
    """

    connections: int = 0
    polling: int = 0
    namespaces: dict[str, int] = {}
    opened: int = 0
    closed: dict[str, int] = {}
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def encoded(self) -> dict[str, str]:
        """As it stands in the node's info."""
        return {_FIGURES: msgspec.json.encode(self).decode()}

    @classmethod
    def decoded(cls, info: Mapping[str, str]) -> "Figures | None":
        """What `encoded` wrote. None where the node says none, or says it in another way."""
        try:
            return _decoder.decode(info[_FIGURES])
        except (KeyError, msgspec.DecodeError):
            return None


_decoder = msgspec.json.Decoder(Figures)
