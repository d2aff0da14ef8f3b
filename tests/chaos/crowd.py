"""Many light clients in this process, over WebSocket and polling, each sending numbered events at a steady pace.

They write down what they saw (tests/chaos/records.py), and come back by themselves when their connection breaks. An
event is sent only while the client is in; what polling could not hand over is taken back (line `r`).
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from tests.chaos.records import Pen

from sio_cluster.testing.client import Client, WSError

SEPARATOR = b"\x1e"
CONNECT_S = 30.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 1.0


class Connection(Protocol):
    """What a member sends with: a WebSocket or a polling session."""

    def send(self, packet: bytes) -> None: ...


class Member:
    """One client. `sent` and `acked` count events, `beside` those without a number."""

    def __init__(self, number: int, pen: Pen, moved: asyncio.Event) -> None:
        self.number = number
        self.sent = 0
        self.beside = 0
        self.acked = 0
        self.sid = ""
        self.connection: Connection | None = None
        self.joined = asyncio.Event()
        self.parted = asyncio.Event()
        self.leaving = False
        self._pen = pen
        self._moved = moved
        self._open: set[int] = set()

    @property
    def waiting(self) -> int:
        return len(self._open)

    def send_next(self) -> None:
        if self.joined.is_set() and self.connection is not None and not self.leaving:
            seq, self.sent = self.sent, self.sent + 1
            self._open.add(seq)
            self._pen(">", self.number, seq, self.sid)
            self.connection.send(b'42%d["up",%d,%d]' % (seq, self.number, seq))

    def send(self, event: str) -> None:
        """An event beside the numbered ones: a JSON array."""
        if self.connection is not None:
            self.beside += 1
            self.connection.send(f"42{event}".encode())

    def took(self, packet: bytes) -> None:
        """A packet came. The connection answers PINGs itself."""
        if packet.startswith(b"43"):
            self._answered(packet)
        elif packet.startswith(b"42"):
            self._told(json.loads(packet[2:]))
        elif packet.startswith(b"40"):
            self.sid = json.loads(packet[2:])["sid"]
            self._pen("o", self.number, self.sid)
            self.parted.clear()
            self.joined.set()
            self._moved.set()
        elif packet.startswith(b"0") and self.connection is not None:
            self.connection.send(b'40{"client":%d}' % self.number)

    def refused(self, packets: Sequence[bytes]) -> None:
        """These packets did not reach the server."""
        for packet in packets:
            if packet.startswith(b"42"):
                seq = int(packet[2 : packet.index(b"[")])
                self._pen("r", self.number, seq)

    def broke(self) -> None:
        """The connection is no more."""
        if self.joined.is_set() and not self.leaving:
            self._pen("p", self.number, self.sid)
        self.joined.clear()
        self.parted.set()
        self._open.clear()
        self._moved.set()

    def leave(self) -> None:
        """Says goodbye, as the official client does."""
        if self.connection is not None and self.joined.is_set():
            self._pen("q", self.number, self.sid)
            self.connection.send(b"41")
            self.connection.send(b"1")
        self.leaving = True

    def _answered(self, packet: bytes) -> None:
        bracket = packet.index(b"[")
        seq = int(packet[2:bracket])
        self._pen("a", self.number, seq)
        if seq in self._open:
            self._open.discard(seq)
            self.acked += 1
            self._moved.set()

    def _told(self, event: list[Any]) -> None:
        if event[0] == "down":
            _, seq, origin, token, n = event
            self._pen("v", self.number, self.sid, seq, origin, token, n)
        elif event[0] == "news":
            self._pen("n", self.number, self.sid, event[1], event[2])


class Crowd:
    """`async with Crowd(url, directory, ...)`: joins them all, then each sends `rate` events a second."""

    def __init__(
        self,
        url: str,
        directory: Path,
        *,
        websockets: int,
        pollers: int,
        rate: float,
        seed: int,
        first: int = 0,
        connect_s: float = CONNECT_S,
        at_once: int = 40,
    ) -> None:
        """`at_once`: how many connect at a time, at first."""
        self.url = url
        self.failures = 0
        self._at_once = at_once
        self._connect_s = connect_s
        self._rate = rate
        self._moved = asyncio.Event()
        self._random = random.Random(seed)
        pen = Pen(directory / f"clients-{first}.txt")
        self.members = [Member(first + number, pen, self._moved) for number in range(websockets + pollers)]
        self._websockets = websockets
        self._keepers: list[asyncio.Task[None]] = []
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Crowd":
        for start in range(0, len(self.members), self._at_once):
            self._keepers += [
                asyncio.create_task(self._keep(member, websocket=place < self._websockets))
                for place, member in list(enumerate(self.members))[start : start + self._at_once]
            ]
            group = self.members[start : start + self._at_once]
            await self._joins(group)
        self._sending = asyncio.create_task(self._send())
        return self

    async def _joins(self, group: Sequence[Member]) -> None:
        await self.until(lambda: all(member.joined.is_set() for member in group), self._connect_s)

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._keepers, *([self._sending] if self._sending else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def beside(self) -> int:
        """Events that are in no record."""
        return sum(member.beside for member in self.members)

    async def progress(self, events: int, within_s: float) -> None:
        """Waits until each client got this many more acks than it had."""
        goals = [(member, member.acked + events) for member in self.members]
        await self.until(lambda: all(member.acked >= goal for member, goal in goals), within_s)

    async def sends(self, events: int, within_s: float = 30) -> None:
        """Waits until the clients have sent this many more each, on the average, acked or not."""
        goal = sum(member.sent for member in self.members) + events * len(self.members)
        await self.until(lambda: sum(member.sent for member in self.members) >= goal, within_s)

    async def all_in(self, within_s: float) -> None:
        await self.until(lambda: all(member.joined.is_set() for member in self.members), within_s)

    async def finish(self, within_s: float) -> None:
        """Ends the sending and waits until every event is acked that still can be; raises nothing where one is not:
        the checker says it better."""
        if self._sending is not None:
            self._sending.cancel()
        try:
            await self.until(lambda: not any(member.waiting for member in self.members), within_s)
        except AssertionError as error:
            print(f"chaos: {error}")

    def leave(self) -> None:
        for member in self.members:
            member.leave()

    async def until(self, condition: Callable[[], bool], within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            waiting = sum(member.waiting for member in self.members)
            away = sum(not member.joined.is_set() for member in self.members)
            raise AssertionError(f"{waiting} acks missing after {within_s:g} s, {away} clients are not in") from None

    async def _keep(self, member: Member, *, websocket: bool) -> None:
        """Connects, and again after each break with the official client's kind of backoff."""
        delay = FIRST_DELAY_S
        while not member.leaving:
            try:
                if websocket:
                    await _websocket(self.url, member)
                else:
                    await _poll(self.url, member)
                delay = FIRST_DELAY_S
            except (OSError, WSError, TimeoutError, ConnectionError, asyncio.IncompleteReadError):
                self.failures += 1
                delay = min(delay * 2, LONGEST_DELAY_S)
            finally:
                member.broke()
            await asyncio.sleep(delay * self._random.uniform(0.5, 1.5))

    async def _send(self) -> None:
        """Spreads the clients over the interval, so that events come evenly. What time was lost is not made up for."""
        loop = asyncio.get_running_loop()
        slots = min(50, len(self.members))
        due = loop.time()
        for turn in range(1 << 62):
            for member in self.members[turn % slots :: slots]:
                member.send_next()
            self._moved.set()
            due = max(due + 1 / self._rate / slots, loop.time() - 0.1)
            await asyncio.sleep(max(0.0, due - loop.time()))


# --- WebSocket


async def _websocket(url: str, member: Member) -> None:
    """One connection over WebSocket, from its beginning to its end."""
    client = Client(member.took, member.broke)
    member.connection = client
    try:
        await client.connect(url)
        await client.closed.wait()
    finally:
        client.disconnect()


# --- polling


class _Requests:
    """One HTTP/1.1 connection, kept alive, opened with the first request."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._head = f"HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        self._pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """(status, body) of the answer. OSError or IncompleteReadError where there is none.

        A kept connection that the server closed meanwhile is replaced, as browsers do: it took nothing of the request.
        """
        kept = self._pair is not None
        try:
            return await self._exchange(method, path, body)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            if not kept or (isinstance(error, asyncio.IncompleteReadError) and error.partial):
                raise
            return await self._exchange(method, path, body)

    async def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if self._pair is None:
            self._pair = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._pair
        data = body or b""
        length = f"Content-Length: {len(data)}\r\n" if body is not None else ""
        writer.write(f"{method} {path} {self._head}{length}\r\n".encode() + data)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        content = await self._body(reader, fields)
        if fields.get("connection") == "close":
            self.close()
        return int(head.split(" ", 2)[1]), content

    def close(self) -> None:
        if self._pair is not None:
            self._pair[1].transport.abort()
            self._pair = None

    async def _body(self, reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
        if fields.get("transfer-encoding") != "chunked":
            return await reader.readexactly(int(fields.get("content-length", "0")))
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        return b"".join(parts)


class _Poller:
    """An Engine.IO session over polling: one loop polls, another posts what has gathered."""

    def __init__(self, url: str, member: Member) -> None:
        self._member = member
        self._get, self._post = _Requests(url), _Requests(url)
        self._path = "/socket.io/?EIO=4&transport=polling"
        self._packets: list[bytes] = []
        self._wake = asyncio.Event()
        self._over = False

    async def run(self) -> None:
        """To its end."""
        try:
            async with asyncio.timeout(10):
                status, body = await self._get.ask("GET", self._path)
            if status != 200:
                raise ConnectionError(f"status {status}")
            self._path += f"&sid={json.loads(body[1:])['sid']}"
            self._member.connection = self
            self._member.took(body)
            posting = asyncio.create_task(self._run_posts())
            polling = asyncio.create_task(self._run_polls())
            await asyncio.wait({posting, polling}, return_when=asyncio.FIRST_COMPLETED)
            self._member.broke()
            self._over = True
            self._wake.set()
            await asyncio.wait({posting}, timeout=2)  # what is on its way may still be taken
            posting.cancel()
            polling.cancel()
            await asyncio.gather(posting, polling, return_exceptions=True)
        finally:
            self._member.refused(self._packets)
            self.close()

    def send(self, packet: bytes) -> None:
        self._packets.append(packet)
        self._wake.set()

    def close(self) -> None:
        self._get.close()
        self._post.close()

    async def _run_polls(self) -> None:
        while True:
            status, body = await self._get.ask("GET", self._path)
            if status != 200:
                return
            for packet in body.split(SEPARATOR):
                if packet == b"2":
                    self.send(b"3")
                elif packet == b"1":
                    return
                elif packet != b"6":
                    self._member.took(packet)

    async def _run_posts(self) -> None:
        while True:
            while self._packets:
                packets, self._packets = self._packets, []
                try:
                    status, _ = await self._post.ask("POST", self._path, SEPARATOR.join(packets))
                except (OSError, asyncio.IncompleteReadError):
                    status = 0  # nobody knows whether it was taken
                if status != 200:
                    self._member.refused(packets)
                    return
            if self._over:
                return
            self._wake.clear()
            await self._wake.wait()


async def _poll(url: str, member: Member) -> None:
    await _Poller(url, member).run()
