"""The load: light clients in one process, which count and time what they receive."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sio_cluster.testing.client import Client as Connection

CONNECT_AT_ONCE = 50


@dataclass
class Tally:
    """What all clients of one measurement received."""

    deliveries: int = 0
    acks: int = 0
    out_of_order: int = 0
    latencies_s: list[float] = field(default_factory=list)
    wanted: int = 0
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, deliveries: int) -> None:
        self.deliveries, self.out_of_order, self.wanted = 0, 0, deliveries
        self.latencies_s.clear()
        self.complete.clear()


class Client:
    """One client in `/`, in the room. Only every 50th reads timestamps: parsing all would measure the generator."""

    def __init__(self, number: int, tally: Tally) -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self.echoing = False
        self._tally = tally
        self._sampled = number % 50 == 0
        self._next_ack = 0
        self._last_news = -1
        self._connection = Connection(self.took, self._closed)

    async def connect(self, url: str) -> None:
        """Returns when it is in the room. Raises TimeoutError, or ConnectionError where the server closes first."""
        await self._connection.connect(url)
        await asyncio.wait_for(self.ready, 30)

    def disconnect(self) -> None:
        self._connection.disconnect(flush=False)

    def send_event(self, packet: bytes) -> None:
        self._connection.send(packet)

    def echo(self) -> None:
        self._next_ack += 1
        self.send_event(b'42%d["echo",1]' % self._next_ack)

    def took(self, packet: bytes) -> None:
        """A packet came. The code for deliveries stands here and not in a method, to save its call."""
        if packet.startswith(b'42["news"'):
            tally = self._tally
            tally.deliveries += 1
            if self._sampled:
                self._look_at(packet)
            if tally.deliveries == tally.wanted:
                tally.complete.set()
        elif packet.startswith(b"43"):
            if not self.ready.done():
                self.ready.set_result(None)
            elif self.echoing:
                self._tally.acks += 1
                self.echo()
        elif packet.startswith(b"40"):
            self.send_event(b'420["join"]')
        elif packet.startswith(b"0"):
            self.send_event(b"40")

    def _look_at(self, packet: bytes) -> None:
        news = json.loads(packet[2:])[1]
        self._tally.latencies_s.append(time.time() - news["ts"])
        self._tally.out_of_order += news["i"] != self._last_news + 1 and news["i"] != 0
        self._last_news = news["i"]

    def _closed(self) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("closed while connecting"))


async def connect(ports: Sequence[int], count: int, tally: Tally) -> list[Client]:
    """`count` clients, spread evenly over the ports, each in the namespace `/` and in the room."""
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def one(number: int) -> Client:
        async with gate:
            client = Client(number, tally)
            await client.connect(f"http://127.0.0.1:{ports[number % len(ports)]}")
            return client

    return await asyncio.gather(*(one(number) for number in range(count)))


def disconnect(clients: Sequence[Client]) -> None:
    for client in clients:
        client.disconnect()
