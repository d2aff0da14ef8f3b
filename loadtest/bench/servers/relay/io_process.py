"""Holds connections, and passes on what is said: `python -m loadtest.bench.servers.relay.io_process PORT NUMBER REDIS`.

REDIS is the port of Redis.
"""

import asyncio
import itertools
import json
import sys
from collections.abc import Sequence

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from loadtest.bench.servers.relay.wire import BROUGHT, INBOX, LANE, Entry, Reader, Writer, pack

_numbers = itertools.count()
_connections: dict[bytes, asyncio.Transport] = {}
_TEXT = WSMsgType.TEXT


class Uplink:
    """Gathers what clients say in one turn of the event loop. It is one entry of the lane."""

    def __init__(self, number: bytes) -> None:
        self.writer = Writer(self._gather)
        self._number = number
        self._lines: list[bytes] = []

    def add(self, who: bytes, packet: bytes) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.writer.flush)
        self._lines.append(who + b" " + packet)

    def _gather(self) -> Sequence[bytes]:
        if not self._lines:
            return ()
        lines, self._lines = self._lines, []
        return (pack(b"XADD", LANE, b"*", BROUGHT, b"\n".join((self._number, *lines))),)


class Connection(WSListener):
    """One client."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._who = b"%d" % next(_numbers)

    def on_ws_connected(self, transport: WSTransport) -> None:
        _connections[self._who] = transport.underlying_transport
        opening = {"sid": self._who.decode(), "upgrades": [], "pingInterval": 300_000, "pingTimeout": 20_000}
        transport.send(_TEXT, b"0" + json.dumps(opening).encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is _TEXT:
            self._uplink.add(self._who, frame.get_payload_as_bytes())
        else:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if _connections.pop(self._who, None) is not None:
            self._uplink.add(self._who, b"41")


def _deliver(entries: list[Entry]) -> None:
    """The frames of one client that one read brings leave in one write: uvloop writes at the end of the turn."""
    for _, (_, lines) in entries:
        for line in lines.split(b"\n"):
            who, _, packet = line.partition(b" ")
            transport = _connections.get(who)
            if transport is not None:
                transport.write(_frame(packet))
            elif who == b"*":
                _deliver_to_several(list(_connections.values()), packet)
            else:
                found = map(_connections.get, who.split(b","))
                _deliver_to_several([transport for transport in found if transport is not None], packet)


def _deliver_to_several(transports: list[asyncio.Transport], packets: bytes) -> None:
    frames = b"".join(map(_frame, packets.split(b"\t")))
    for transport in transports:
        transport.write(frames)


def _frame(packet: bytes) -> bytes:
    """A text message that is not masked (RFC 6455, section 5.2), of at most 65,535 bytes."""
    size = len(packet)
    return b"\x81%c%b" % (size, packet) if size < 126 else b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), packet)


async def _serve(port: int, number: bytes, redis_port: int) -> None:
    """Ends with the error if Redis refuses a command or goes away."""
    broken = asyncio.get_running_loop().create_future()
    uplink = Uplink(number)
    await uplink.writer.start(redis_port, broken)
    await Reader(INBOX % number, _deliver, trims=True).start(redis_port, broken)

    def accept(request: WSUpgradeRequest) -> WSListener:
        return Connection(uplink)

    await ws_create_server(accept, "127.0.0.1", port, backlog=4096)
    await broken


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])))
