"""Many light clients in one asyncio process, each sending numbered events with acks at a steady pace."""

import asyncio
import json
from collections.abc import Callable, Iterable

from sio_cluster.testing.client import Client as Connection


class Client:
    """A client of tests/e2e/app.py. `acks` are the numbers acked, in the order of their arrival."""

    def __init__(self, moved: asyncio.Event) -> None:
        self._moved = moved
        self.joined = asyncio.Event()
        self.connection = Connection(self._took)
        self.sid = ""
        self.sent = 0
        self.acks: list[int] = []
        self.repeated = 0
        self.mismatched: list[str] = []
        self.pids: set[int] = set()
        self._seen: set[int] = set()

    @property
    def is_closed(self) -> bool:
        return self.connection.closed.is_set()

    async def connect(self, url: str) -> None:
        await self.connection.connect(url)
        async with asyncio.timeout(60):
            await self.joined.wait()

    def _took(self, packet: bytes) -> None:
        if packet.startswith(b"43"):
            self._acked(packet.decode())
        elif packet.startswith(b"40"):
            self.sid = json.loads(packet[2:])["sid"]
            self.joined.set()
        elif packet.startswith(b"0"):
            self.connection.send(b"40")

    def send_next(self) -> None:
        if not self.is_closed:
            self.connection.send(b'42%d["number",%d]' % (self.sent, self.sent))
            self.sent += 1

    @property
    def is_complete(self) -> bool:
        return len(self.acks) == self.sent

    def _acked(self, text: str) -> None:
        bracket = text.index("[")
        ack_id = int(text[2:bracket])
        value, pid = json.loads(text[bracket:])
        if value != ack_id:
            self.mismatched.append(text)
        self.pids.add(pid)
        if ack_id in self._seen:
            self.repeated += 1  # the application may answer an event again that it was given again
        else:
            self._seen.add(ack_id)
            self.acks.append(ack_id)
            self._moved.set()


class Load:
    """`async with Load(url, clients, rate)`: joins them all, then each sends `rate` events a second until `finish`."""

    def __init__(self, urls: Iterable[str], clients: int, rate: float) -> None:
        self._urls = list(urls)
        self._rate = rate
        self._count = clients
        self._moved = asyncio.Event()
        self.clients: list[Client] = []

    async def __aenter__(self) -> "Load":
        for start in range(0, self._count, 20):  # in small groups: a stampede is not what is tested here
            group = range(start, min(start + 20, self._count))
            self.clients += await asyncio.gather(*(self._connect(number) for number in group))
        self._sending = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sending.cancel()
        for client in self.clients:
            client.connection.disconnect()

    async def progress(self, events: int, within_s: float) -> None:
        """Waits until each client got this many more acks than it had."""
        goals = [(client, len(client.acks) + events) for client in self.clients]
        await self._until(lambda: all(len(client.acks) >= goal for client, goal in goals), within_s)

    async def sends(self, events: int) -> None:
        """Waits until each client has sent this many more, acked or not."""
        goals = [(client, client.sent + events) for client in self.clients]
        await self._until(lambda: all(client.sent >= goal for client, goal in goals), events / self._rate + 10)

    async def finish(self, within_s: float) -> None:
        """Ends the sending and waits until every event is acked."""
        self._sending.cancel()
        await self._until(lambda: all(client.is_complete for client in self.clients), within_s)

    def judge(self) -> None:
        """No client was disconnected; each event was acked with its own number, in order, none is missing."""
        assert [client.sid for client in self.clients if client.is_closed] == []
        assert [client.mismatched for client in self.clients if client.mismatched] == []
        for client in self.clients:
            assert client.acks == list(range(client.sent))

    @property
    def pids(self) -> set[int]:
        return set().union(*(client.pids for client in self.clients))

    @property
    def repeated(self) -> int:
        return sum(client.repeated for client in self.clients)

    async def _connect(self, number: int) -> Client:
        client = Client(self._moved)
        await client.connect(self._urls[number % len(self._urls)])
        return client

    async def _send(self) -> None:
        """Spreads the clients over the interval, so that events come evenly."""
        loop = asyncio.get_running_loop()
        interval = 1 / self._rate
        due = loop.time()
        for turn in range(1 << 62):
            slots = min(50, len(self.clients))
            for client in self.clients[turn % slots :: slots]:
                client.send_next()
            self._moved.set()
            due += interval / slots
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _until(self, condition: Callable[[], bool], within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            missing = sum(client.sent - len(client.acks) for client in self.clients)
            closed = sum(client.is_closed for client in self.clients)
            raise AssertionError(f"{missing} acks missing after {within_s} s, {closed} clients closed") from None
