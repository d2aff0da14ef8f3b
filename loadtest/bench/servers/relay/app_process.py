"""Answers what the io processes pass on: `python -m loadtest.bench.servers.relay.app_process REDIS`.

REDIS is the port of Redis. Like `bare.py`, it understands the benchmark's own packets by their first bytes.
"""

import asyncio
import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import uvloop

from loadtest.bench.servers.handlers import PADDING
from loadtest.bench.servers.relay.wire import BROUGHT, INBOX, LANE, Entry, Reader, Writer, pack


class Application:
    """Reads the lane, and writes inboxes. What it has answered leaves the lane in the same write."""

    def __init__(self) -> None:
        self.writer = Writer(self._gather)
        self._answered: list[bytes] = []
        self._lines: defaultdict[bytes, list[bytes]] = defaultdict(list)
        """By io process: what its inbox gets."""
        self._rooms: defaultdict[str, defaultdict[bytes, dict[bytes, None]]]
        self._rooms = defaultdict(lambda: defaultdict(dict))
        """By room and io process: the members."""
        self._clients: defaultdict[bytes, dict[bytes, list[str]]] = defaultdict(dict)
        """By io process: its clients and their rooms."""

    def take(self, entries: list[Entry]) -> None:
        """Answers what one read has brought."""
        for entry_id, (_, lines) in entries:
            self._answered.append(entry_id)
            io, *packets = lines.split(b"\n")
            answers = self._lines[io]
            for line in packets:
                who, _, packet = line.partition(b" ")
                ack, bracket, event = packet.partition(b"[")
                if event.startswith(b'"echo",'):
                    answers.append(who + b" 43" + ack[2:] + b"[" + event[7:])
                elif not bracket:
                    self._come_or_go(io, who, packet)
                else:
                    self._act(io, who, event)
                    answers.append(who + b" 43" + ack[2:] + b"[true]")
        self.writer.flush()

    def _gather(self) -> Sequence[bytes]:
        commands = [
            pack(b"XADD", INBOX % io, b"*", BROUGHT, b"\n".join(lines)) for io, lines in self._lines.items() if lines
        ]
        self._lines.clear()
        if self._answered:
            commands.append(pack(b"XDEL", LANE, *self._answered))
            self._answered.clear()
        return commands

    def _come_or_go(self, io: bytes, who: bytes, packet: bytes) -> None:
        if packet == b"40":
            self._clients[io][who] = []
            self._lines[io].append(who + b' 40{"sid":"' + io + b"." + who + b'"}')
        elif packet == b"41":
            for room in self._clients[io].pop(who, ()):
                self._rooms[room][io].pop(who, None)

    def _act(self, io: bytes, who: bytes, event: bytes) -> None:
        name, argument = json.loads(b"[" + event)
        if name == "join":
            for room in argument:
                self._rooms[room][io][who] = None
            self._clients[io][who] += argument
        elif name == "say":
            self._emit(argument, range(1))
        elif name == "volley":
            self._emit(argument["room"], range(argument["burst"]))
        elif name == "blast":
            self._blast(argument, 0)

    def _blast(self, order: dict[str, Any], burst: int) -> None:
        """One burst, and the next ones later."""
        if burst < order["bursts"]:
            self._emit(order["room"], range(burst * order["burst"], (burst + 1) * order["burst"]))
            self.writer.flush()
            asyncio.get_running_loop().call_later(order["pause_s"], self._blast, order, burst + 1)

    def _emit(self, room: str, numbers: range) -> None:
        """These messages to all members: one line for each io process that has some."""
        news = ({"ts": time.time(), "i": number, "pad": PADDING} for number in numbers)
        packets = b"\t".join(b"42" + json.dumps(["news", one]).encode() for one in news)
        for io, members in self._rooms[room].items():
            if members:
                # The last comma: one member alone, too, may get several packets.
                who = b"*" if len(members) == len(self._clients[io]) else b",".join((*members, b""))
                self._lines[io].append(who + b" " + packets)


async def _serve(redis_port: int) -> None:
    """Ends with the error if Redis refuses a command or goes away."""
    broken = asyncio.get_running_loop().create_future()
    application = Application()
    await application.writer.start(redis_port, broken)
    await Reader(LANE, application.take, trims=False).start(redis_port, broken)
    await broken


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
