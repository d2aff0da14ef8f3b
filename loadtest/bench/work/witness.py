"""What is looked at beside the clients while a cluster is measured: its counters, its event loops, and its Redis."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from sio_cluster.protocol.keys import Keys
from sio_cluster.testing.client import Client

LOOK_S = 1.0
ANSWER_S = 90.0
PAGE = 32
"""How many entries one XRANGE brings where a log is read (`LOG_PAGE` in `sio_cluster.streams.redis.scripts.homes`)."""


async def counter(http: httpx.AsyncClient, port: int, name: str) -> float:
    """A counter of a node, with its labels: `sio_io_emits_total`. 0 where it has none."""
    text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


class ConnectRate:
    """How many clients each io-node passes on to the application. `watch` looks once a second.

    `over`: how many more than CONNECT_RATE allows, at worst: as many a second, and those of one second at once.
    `highest`: most in a second, between two looks.
    """

    def __init__(self, http: httpx.AsyncClient, ports: Sequence[int], rate: int) -> None:
        self.over = self.highest = 0.0
        self._http = http
        self._rate = rate
        self._ports = ports
        self._first: dict[int, tuple[float, float]] = {}
        self._last: dict[int, tuple[float, float]] = {}

    async def look(self) -> None:
        """Once."""
        for port in self._ports:
            passed_on = await counter(self._http, port, 'sio_io_facts_accepted_total{kind="connected"}')
            now = (time.perf_counter(), passed_on)
            (first_at, first), (last_at, last) = self._first.setdefault(port, now), self._last.get(port, now)
            self._last[port] = now
            self.over = max(self.over, passed_on - first - self._rate * (now[0] - first_at + 1))
            if now[0] > last_at:
                self.highest = max(self.highest, (passed_on - last) / (now[0] - last_at))

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)


async def loops(http: httpx.AsyncClient, ports: Sequence[int]) -> list[dict[str, float]]:
    """What `LoopWatch` has seen in each of these io-nodes. It begins anew."""
    return [(await http.get(f"http://127.0.0.1:{port}/loop")).json() for port in ports]


async def home_entries(redis_port: int, name: str) -> int:
    """How many entries the inbox of the io-node of this name has."""
    keys = Keys("sio")
    node = re.search(rf"{name}-\w+".encode(), await _ask(redis_port, f"HKEYS {keys.io_nodes}"))
    assert node is not None
    return int((await _ask(redis_port, f"XLEN {keys.inbox(node[0].decode())}"))[1:].split()[0])


async def xranges(redis_port: int) -> int:
    """How many XRANGE the server has carried out."""
    found = re.search(rb"cmdstat_xrange:calls=(\d+)", await _ask(redis_port, "INFO commandstats"))
    return int(found[1]) if found else 0


async def _ask(port: int, command: str) -> bytes:
    """What a Redis answers, as it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{command}\r\nQUIT\r\n".encode())
        return await asyncio.wait_for(reader.read(), ANSWER_S)
    finally:
        writer.close()


class Control:
    """A client by which the application is told what to do. `control` makes one."""

    def __init__(self) -> None:
        self.client = Client(self._took)
        self._answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def ask(self, event: str, order: object = None) -> Any:
        """What the handler of this event returns. Raises TimeoutError."""
        self.client.send(b"420" + json.dumps([event, order]).encode())
        return await self.answer()

    async def answer(self) -> Any:
        try:
            return await asyncio.wait_for(self._answer, ANSWER_S)
        finally:
            self._answer = asyncio.get_running_loop().create_future()

    def _took(self, packet: bytes) -> None:
        if packet.startswith(b"430"):
            self._answer.set_result(json.loads(packet[3:])[0])
        elif packet.startswith(b"40"):
            self._answer.set_result(None)
        elif packet.startswith(b"0"):
            self.client.send(b"40")


@asynccontextmanager
async def control(port: int) -> AsyncIterator[Control]:
    """Connects it."""
    its = Control()
    await its.client.connect(f"http://127.0.0.1:{port}")
    await its.answer()
    yield its
    its.client.disconnect()
