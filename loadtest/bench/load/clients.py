"""One client of the benchmark, and many of them."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sio_cluster.testing.client import Client as WebSocketClient
from sio_cluster.testing.polling import PollingClient

CONNECT_AT_ONCE = 50
ANSWER_S = 60.0
SAMPLE = 50
"""Only every 50th client reads the time in what is emitted to it: to parse all would measure the load generator."""


@dataclass
class Tally:
    """What all clients received since the last `expect`."""

    deliveries: int = 0
    out_of_order: int = 0
    latencies_s: list[float] = field(default_factory=list)
    acks: int = 0
    round_trips_s: list[float] = field(default_factory=list)
    wanted: int = 0
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, deliveries: int = 0) -> None:
        """Begins anew. `complete` is set when that many deliveries have come."""
        self.deliveries, self.out_of_order, self.acks, self.wanted = 0, 0, 0, deliveries
        self.latencies_s.clear()
        self.round_trips_s.clear()
        self.complete.clear()


class Client:
    """One client in the namespace `/`."""

    def __init__(self, number: int, tally: Tally, *, polling: bool = False, recovers: bool = False) -> None:
        self.again = b""
        """An event that is sent anew whenever an ack comes: a closed loop."""
        self.unanswered: dict[int, float] = {}
        self._tally = tally
        self._sampled = number % SAMPLE == 0
        self._next_ack = 0
        self._last_news = -1
        self._accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._connection: PollingClient | WebSocketClient
        if polling:
            self._connection = PollingClient(self.took, self._closed)
        else:
            self._connection = WebSocketClient(self.took, self._closed, query="&recovery=1" if recovers else "")

    async def connect(self, url: str) -> None:
        """Returns when its CONNECT is accepted. Raises TimeoutError, or ConnectionError where the server closes."""
        await self._connection.connect(url)
        await asyncio.wait_for(self._accepted, ANSWER_S)

    def disconnect(self) -> None:
        """Ends the connection at once."""
        self._connection.disconnect()

    def send(self, event: bytes, due: float = 0.0) -> int:
        """Sends an event that asks for an ack, and returns its ack id. `event`: a JSON array. `due`: the time
        (perf_counter) from which its round trip counts, or 0 for now."""
        self._next_ack = number = self._next_ack + 1
        self.unanswered[number] = due or time.perf_counter()
        self._connection.send(b"42%d%s" % (number, event))
        return number

    async def ask(self, event: bytes) -> None:
        """Sends an event and waits for its ack. Raises TimeoutError."""
        number = self.send(event)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await asyncio.wait_for(self._waiting[number], ANSWER_S)

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
            self._answered(int(packet[2 : packet.index(b"[")]))
        elif packet.startswith(b"40"):
            if not self._accepted.done():
                self._accepted.set_result(None)
        elif packet.startswith(b"0"):
            self._connection.send(b"40")

    def _answered(self, number: int) -> None:
        due = self.unanswered.pop(number, None)
        if due is None:
            return
        self._tally.acks += 1
        self._tally.round_trips_s.append(time.perf_counter() - due)
        if self._waiting and (waiting := self._waiting.pop(number, None)) is not None and not waiting.done():
            waiting.set_result(None)
        if self.again:
            self.send(self.again)

    def _look_at(self, packet: bytes) -> None:
        news = json.loads(packet[2:])[1]
        self._tally.latencies_s.append(time.time() - news["ts"])
        self._tally.out_of_order += news["i"] != self._last_news + 1 and news["i"] != 0
        self._last_news = news["i"]

    def _closed(self) -> None:
        if not self._accepted.done():
            self._accepted.set_exception(ConnectionError("closed while connecting"))


async def connect(
    ports: Sequence[int], count: int, tally: Tally, *, polling: bool = False, recovers: bool = False
) -> list[Client]:
    """`count` clients, spread evenly over the ports, each accepted in the namespace `/`.

    `recovers`: over WebSocket they say that they can come back and get what they missed.
    """
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def one(number: int) -> Client:
        async with gate:
            client = Client(number, tally, polling=polling, recovers=recovers)
            await client.connect(f"http://127.0.0.1:{ports[number % len(ports)]}")
            return client

    return await asyncio.gather(*(one(number) for number in range(count)))


async def join(clients: Sequence[Client], rooms: Sequence[Sequence[str]]) -> None:
    """Each client enters its rooms."""
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def one(client: Client, its: Sequence[str]) -> None:
        async with gate:
            await client.ask(json.dumps(["join", its]).encode())

    await asyncio.gather(*(one(client, its) for client, its in zip(clients, rooms, strict=True)))


def disconnect(clients: Sequence[Client]) -> None:
    """Ends all their connections."""
    for client in clients:
        client.disconnect()
