"""Thousands of clients that lose their io-node and come back. A process of its own, so that it disturbs no measurement.

`python -m loadtest.bench.load.returners ORDER`, with an `Order` as JSON. The clients connect to one io-node. When their
connections end, they come back to others, each with its pid and its last offset. The process prints `connected`, and
`back` when all have come back. SIGTERM makes it print a `Report` as JSON, and end.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import uvloop

from sio_cluster.testing.client import Client, WSError
from sio_stack.child import Child

AT_ONCE = 200
"""So many connect at a time at the beginning."""
OPENING = 500
"""So many open their connections at a time when they come back. To open 20,000 takes this process some seconds: if all
began together, each would wait for all others, and give up."""
FIRST_WAIT_S, LONGEST_WAIT_S, SPREAD = 1.0, 5.0, 0.5
"""How the JavaScript client waits before it tries again: twice as long each time, half more or less."""


class Order(msgspec.Struct):
    """`home`, `others`: ports. `waits`: they come back after a wait, as the JavaScript client does, else at once.
    (After a try that failed they always wait.)"""

    home: int
    others: list[int]
    count: int
    rooms: int
    waits: bool


class Report(msgspec.Struct):
    """What all of them have seen. Times in seconds since their connections ended.

    `last`: by room, the number of the last message that each of its clients has. `at`: by port, when clients were back.
    """

    last: list[list[int]]
    at: dict[int, list[float]]
    recovered: int = 0
    fresh: int = 0
    again: int = 0
    """How often one that was back came back once more, since its connection had ended."""
    tries: int = 0
    missing: int = 0
    doubled: int = 0
    disordered: int = 0
    cpu_s: float = 0.0


class Returners:
    """The process, as the one that started it sees it. `started` makes one."""

    def __init__(self) -> None:
        self._child = Child(self._on_line)
        self._told = {"connected": asyncio.Event(), "back": asyncio.Event()}
        self._rest: list[str] = []

    async def wait_for(self, what: str, within_s: float) -> None:
        """Until it has said `connected`, or `back`. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            await self._told[what].wait()

    async def end(self, within_s: float = 30.0) -> Report:
        """Ends it. Raises msgspec.DecodeError where it said something else."""
        self._child.signal(signal.SIGTERM)
        await self._child.read_all(within_s)
        return msgspec.json.decode("".join(self._rest), type=Report)

    def _on_line(self, line: str) -> None:
        if line in self._told:
            self._told[line].set()
        else:
            self._rest.append(line)


@asynccontextmanager
async def started(order: Order) -> AsyncIterator[Returners]:
    """Starts the process, and kills it in the end."""
    returners = Returners()
    command = [sys.executable, "-m", "loadtest.bench.load.returners", msgspec.json.encode(order).decode()]
    child = returners._child
    await child.start(command, os.environ, Path.cwd())
    try:
        yield returners
    finally:
        child.kill()
        await child.wait()
        await child.close()


class _Connected(msgspec.Struct):
    sid: str
    pid: str


_read_connected = msgspec.json.Decoder(_Connected).decode


class Crowd:
    """All the clients, and what they count together."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.report = Report(last=[[] for _ in range(order.rooms)], at={port: [] for port in order.others})
        self.lost_at = 0.0
        self.gate = asyncio.Semaphore(OPENING)
        self._cpu_s = 0.0
        self._clients = [Returner(number, self) for number in range(order.count)]

    async def connect(self) -> None:
        """Returns when all are accepted."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(client: "Returner") -> None:
            async with gate:
                await client.connect()

        await asyncio.gather(*map(one, self._clients))
        print("connected", flush=True)

    def lost(self) -> None:
        """A connection has ended."""
        if not self.lost_at:
            self.lost_at, self._cpu_s = time.perf_counter(), time.process_time()

    def back(self, port: int, *, recovered: bool) -> None:
        """A client was let in again."""
        report = self.report
        report.recovered += recovered
        report.fresh += not recovered
        report.at[port].append(time.perf_counter() - self.lost_at)
        if report.recovered + report.fresh == len(self._clients):
            report.cpu_s = time.process_time() - self._cpu_s
            print("back", flush=True)

    def end(self) -> Report:
        """What was counted."""
        for client in self._clients:
            self.report.last[client.room].append(client.last)
        return self.report


class Returner:
    """One client, over all its connections."""

    __slots__ = (
        "_accepted", "_back", "_connection", "_crowd", "_gaps", "_number", "_offset", "_opened", "_pid", "_port",
        "_sid", "_task", "last", "room",
    )  # fmt: skip

    def __init__(self, number: int, crowd: Crowd) -> None:
        self.room = number % crowd.order.rooms
        self.last = -1
        self._number = number
        self._opened = 0
        self._back = False
        self._crowd = crowd
        self._port = crowd.order.home
        self._sid = self._pid = ""
        self._offset = b""
        self._gaps: set[int] = set()
        self._connection: Client | None = None
        self._accepted: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """For the first time. Returns when it is accepted."""
        await self._open()
        assert self._accepted is not None
        await self._accepted
        self._accepted = None

    async def _open(self) -> None:
        """What an earlier connection says, which was given up and came about all the same, is nobody's business."""
        self._opened = number = self._opened + 1

        def took(packet: bytes) -> None:
            if number == self._opened:
                self._took(packet)

        def lost() -> None:
            if number == self._opened:
                self._lost()

        self._connection = Client(took, lost, query="&recovery=1")
        await self._connection.connect(f"http://127.0.0.1:{self._port}")

    def _took(self, packet: bytes) -> None:
        """A packet came. The first branch is the hot path."""
        if packet.startswith(b'42["n",'):
            number, self._offset = int(packet[7:-20]), packet[-18:-2]
            if number == self.last + 1:
                self.last = number
            else:
                self._surprise(number)
        elif packet.startswith(b"40"):
            self._joined(_read_connected(packet[2:]))
        elif packet.startswith(b"0"):
            assert self._connection is not None
            self._connection.send(b"40" + self._auth())

    def _auth(self) -> bytes:
        if not self._pid:
            return b'{"room":"room %d"}' % self.room
        if not self._offset:
            return b'{"pid":"%s"}' % self._pid.encode()
        return b'{"pid":"%s","offset":"%s"}' % (self._pid.encode(), self._offset)

    def _joined(self, connected: _Connected) -> None:
        was, self._sid, self._pid = self._sid, connected.sid, connected.pid
        if was and self._back:
            self._crowd.report.again += 1
        elif was:
            self._back = True
            self._crowd.back(self._port, recovered=was == self._sid)
        elif self._accepted is not None:
            self._accepted.set_result(None)

    def _surprise(self, number: int) -> None:
        """It is not the next one."""
        report = self._crowd.report
        if number > self.last:
            self._gaps.update(range(self.last + 1, number))
            report.missing += number - self.last - 1
            self.last = number
        elif number in self._gaps:
            self._gaps.remove(number)
            report.missing -= 1
            report.disordered += 1
        else:
            report.doubled += 1

    def _lost(self) -> None:
        """The connection has ended, or could not be opened."""
        if self._sid and (self._task is None or self._task.done()):
            self._crowd.lost()
            others = self._crowd.order.others
            self._port = others[self._number % len(others)]
            self._task = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        wait_s = FIRST_WAIT_S
        waits = self._crowd.order.waits
        while True:
            if waits:
                await asyncio.sleep(wait_s * random.uniform(1 - SPREAD, 1 + SPREAD))
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            waits = True
            try:
                async with self._crowd.gate:
                    self._crowd.report.tries += 1
                    await self._open()
            except (OSError, TimeoutError, WSError):
                continue
            return


async def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Order)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    crowd = Crowd(order)
    await crowd.connect()
    await ended.wait()
    report = msgspec.json.encode(crowd.end())
    for start in range(0, len(report), LINE):
        print(report[start : start + LINE].decode(), flush=True)


LINE = 8_192
"""Longer lines come in pieces: the other process puts them together anyway."""

if __name__ == "__main__":
    uvloop.run(main())
