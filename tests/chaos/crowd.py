"""Many light clients in this process, over WebSocket and polling, each sending numbered events at a steady pace.

They write down what they saw (tests/chaos/records.py), and come back by themselves when their connection breaks. An
event is sent only while the client is in; what polling could not hand over is taken back (line `r`).

Half of them can claim their sessions back, and do so as socket.io-client does: they keep the pid of CONNECT, and the
last argument of the last event where that is text, and show both when they connect anew.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from tests.chaos.pace import AT_EASE_S, LEAST
from tests.chaos.records import Pen

from sio_cluster.testing.client import Client, WSError
from sio_cluster.testing.polling import PollingClient

CONNECT_S = 30.0
HANDSHAKE_S, TURN_S = 10.0, 0.01
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 1.0


class Connection(Protocol):
    """What a member sends with: a WebSocket or a polling session."""

    def send(self, packet: bytes) -> None: ...


class Member:
    """One client. `sent` and `acked` count events, `beside` those without a number. `waited_s`: for its last ack.

    `recovers`: whether it can claim its session back.
    """

    def __init__(self, number: int, pen: Pen, moved: asyncio.Event, *, recovers: bool) -> None:
        self.number = number
        self.recovers = recovers
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
        self._open: dict[int, float] = {}
        self._pid = ""
        self._offset = ""
        self.waited_s = 0.0

    @property
    def waiting(self) -> int:
        return len(self._open)

    def send_next(self) -> None:
        if self.joined.is_set() and self.connection is not None and not self.leaving:
            seq, self.sent = self.sent, self.sent + 1
            self._open[seq] = monotonic()
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
            self._let_in(json.loads(packet[2:]))
        elif packet.startswith(b"0") and self.connection is not None:
            self.connection.send(b"40%s" % json.dumps(self._auth()).encode())

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

    def _auth(self) -> dict[str, Any]:
        """What its CONNECT shows."""
        claim = {"pid": self._pid} | ({"offset": self._offset} if self._offset else {}) if self._pid else {}
        return {"client": self.number} | ({"recovery": True} if self.recovers else {}) | claim

    def _let_in(self, told: dict[str, str]) -> None:
        pid = told.get("pid", "")
        recovered = pid != "" and pid == self._pid
        self.sid, self._pid = told["sid"], pid
        self._pen("o", self.number, self.sid, int(pid != ""), int(recovered))
        self.parted.clear()
        self.joined.set()
        self._moved.set()

    def _answered(self, packet: bytes) -> None:
        bracket = packet.index(b"[")
        seq = int(packet[2:bracket])
        self._pen("a", self.number, seq)
        if (sent := self._open.pop(seq, None)) is not None:
            self.waited_s = monotonic() - sent
            self.acked += 1
            self._moved.set()

    def _told(self, event: list[Any]) -> None:
        if event[0] == "down":
            _, seq, origin, token, n, *_ = event
            self._pen("v", self.number, self.sid, seq, origin, token, n)
        elif event[0] == "news":
            self._pen("n", self.number, self.sid, event[1], event[2])
        elif event[0] == "roll":
            self._pen("h", self.number, self.sid, event[1], event[2])
        if self._pid and isinstance(event[-1], str):
            self._offset = event[-1]


class Crowd:
    """`async with Crowd(url, directory, ...)`: joins them all, then each sends `rate` * `pace` events a second.

    Whoever waits for a number of events waits for as long at any pace, so for fewer events at a lower one.
    """

    def __init__(
        self,
        url: str,
        directory: Path,
        *,
        websockets: int,
        pollers: int,
        rate: float,
        seed: int,
        pace: float = 1.0,
        first: int = 0,
        connect_s: float = CONNECT_S,
        at_once: int = 40,
        recovering: bool = True,
    ) -> None:
        """`at_once`: how many connect at a time, at first. They are one process: each waits for a handshake the longer,
        the more there are. `recovering`: half can claim their sessions back."""
        self.url = url
        self.failures = 0
        self._at_once = at_once
        self._connect_s = connect_s
        self._handshake_s = HANDSHAKE_S + at_once * TURN_S
        self._rate = rate
        self.pace = pace
        self._moved = asyncio.Event()
        self._random = random.Random(seed)
        pen = Pen(directory / f"clients-{first}.txt")
        self.members = [
            Member(first + number, pen, self._moved, recovers=recovering and number % 2 == 0)
            for number in range(websockets + pollers)
        ]
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

    @property
    def rate(self) -> float:
        """Events a second of all together."""
        return self._rate * self.pace * len(self.members)

    async def settle(self) -> None:
        """Lowers the pace until clients do not wait for the machine."""
        while True:
            await self.progress(5, 30)
            waits = sorted(member.waited_s for member in self.members)
            if waits[len(waits) * 9 // 10] < AT_EASE_S or self.pace <= LEAST:
                return
            self.pace = max(LEAST, self.pace * 0.7)
            await self.until(lambda: not any(member.waiting > 1 for member in self.members), 30)

    async def progress(self, events: int, within_s: float) -> None:
        """Waits until each client got this many more acks than it had, at full pace."""
        goals = [(member, member.acked + self._paced(events)) for member in self.members]
        await self.until(lambda: all(member.acked >= goal for member, goal in goals), within_s)

    async def sends(self, events: int, within_s: float = 30) -> None:
        """Waits until the clients have sent this many more each, on the average and at full pace, acked or not."""
        goal = sum(member.sent for member in self.members) + self._paced(events) * len(self.members)
        await self.until(lambda: sum(member.sent for member in self.members) >= goal, within_s)

    def _paced(self, events: int) -> int:
        return max(2, round(events * self.pace)) if events > 1 else events

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
                    await self._stay(Client(member.took, member.broke), member)
                else:
                    await self._stay(PollingClient(member.took, member.broke, member.refused), member)
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
            due = max(due + 1 / (self._rate * self.pace) / slots, loop.time() - 0.1)
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _stay(self, client: Client | PollingClient, member: Member) -> None:
        """One connection, from its beginning to its end."""
        member.connection = client
        try:
            await client.connect(self.url, self._handshake_s)
            await client.closed.wait()
        finally:
            client.disconnect()
