"""The io-node of the simulated cluster: clients played by the test, a scripted uplink and downlink."""

import asyncio
import json
import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.model.app_nodes import Connections
from tests.model.history import ClientRecord, History
from tests.model.roaming import Roamers

from sio_cluster.node.retry import Backoff
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_downlink, encode_uplink
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    ClientConnected,
    ClientDisconnected,
    Disconnect,
    Emit,
    EventReceived,
    Evict,
    Fact,
    Handshake,
    Refuse,
)
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.testing.simulation import SteppedLoop

_HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4&transport=polling", [("host", "example.org")], "10.1.2.3", 99)

_TTL_MS = 3_600_000  # one that lives is never taken for lost here: outages last longer than the time-out of the model


@dataclass
class _Client:
    """A client. It sends events only after it was let in, as the official clients do."""

    record: ClientRecord
    waiting: list[str | float] = field(default_factory=list)


class SimulatedIoNode:
    """Starts at once. Each flush writes one entry for each lane; a retry keeps its sequence number."""

    def __init__(
        self,
        name: str,
        *,
        loop: SteppedLoop,
        connections: Connections,
        config: Config,
        history: History,
        now: Callable[[], float],
        after: Callable[[float, Callable[[], None]], None],
        draws: random.Random,
    ) -> None:
        """`after(seconds, action)` does something later. `draws` decides what befalls clients that roam."""
        self.id = name
        self.loop = loop
        self.connections = connections
        self.paused = False
        self.dead = False
        self.clients: dict[str, _Client] = {}
        self._config = config
        self._now = now
        self._history = history
        self._bus = connections.make_bus(config)
        self._inbox = self._bus.inbox_reader(name)
        self._queue: deque[Fact] = deque()
        self._wake = asyncio.Event()
        self._flying = False
        self._seq = 0
        self._after = after
        self.roamers = Roamers(
            records=self._bus.records, history=history, draws=draws, put=self._put_later, persist=self._persist
        )
        self._later = 0  # facts that will be put
        for work in (self._live(), self._send(), self._receive()):
            loop.loop.create_task(work).add_done_callback(self._ended)

    @property
    def is_idle(self) -> bool:
        return not self._queue and not self._flying and not self._later

    def check(self) -> None:
        """Does nothing: its script reports violations by itself."""

    def kill(self) -> None:
        """As kill -9: its clients lose their connections, and what was not in Redis."""
        self.dead = True
        self.connections.close()
        self.loop.close()
        for client in self.clients.values():
            client.record.lost = not client.record.left

    # --- what clients do

    def connect(self, number: int) -> str:
        sid = f"{self.id}.{number:016d}"
        record = ClientRecord(sid, lane_of(sid, self._config.lanes))
        self._history.clients[sid] = record
        self.clients[sid] = _Client(record)
        self._put(ClientConnected(sid, "c", "/", None, _HANDSHAKE, "polling"))
        return sid

    def connect_roaming(self, number: int) -> str:
        """A client that will claim its session back."""
        sid = f"{self.id}.{number:016d}"
        self._history.clients[sid] = record = ClientRecord(sid, lane_of(sid, self._config.lanes))
        self.roamers.connect(sid, record)
        return sid

    def claim(self, sid: str) -> None:
        """Such a client comes back."""
        self._later += 1
        self.loop.woken = True
        task = self.loop.loop.create_task(self.roamers.claim(sid))
        task.add_done_callback(self._claimed)

    def event(self, sid: str, plan: str | float) -> None:
        client = self.clients[sid]
        if client.record.cut:
            return
        if client.record.accepted:
            self._put_event(client.record, plan)
        else:
            client.waiting.append(plan)

    def leave(self, sid: str) -> None:
        record = self.clients[sid].record
        record.left = True
        self._put(ClientDisconnected(sid, "transport close"))

    def _put_event(self, record: ClientRecord, plan: str | float) -> None:
        seq = record.sent
        record.sent_at.append(self._now())
        if plan == "raise":
            record.raising.add(seq)
        self._put(EventReceived(record.sid, seq, json.dumps(["work", seq, plan]).encode()))

    def _claimed(self, task: "asyncio.Task[None]") -> None:
        self._later -= 1
        if not task.cancelled() and (error := task.exception()):
            self._history.violated(f"a claim failed: {error!r}")

    def _put_later(self, delay_s: float, facts: Sequence[Fact]) -> None:
        def put() -> None:
            self._later -= 1
            for fact in facts:
                self._put(fact)

        self._later += 1
        self._after(delay_s, put)

    def _put(self, fact: Fact) -> None:
        self._queue.append(fact)
        self._wake.set()
        self.loop.woken = True

    # --- its script

    async def _live(self) -> None:
        await self._persist(lambda: self._bus.registry.register_io_node(self.id, {}))
        while True:
            await self._persist(lambda: self._bus.registry.heartbeat(self.id, _TTL_MS))
            await asyncio.sleep(self._config.heartbeat_ms / 1000)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._flying = True
                facts = [self._queue.popleft() for _ in range(min(8, len(self._queue)))]
                connected = [fact for fact in facts if isinstance(fact, ClientConnected)]
                if connected:
                    await self._persist(lambda connected=connected: self._bus.records.store(connected))
                await self._append(facts)
                self._flying = False

    async def _append(self, facts: list[Fact]) -> None:
        by_lane: dict[int, list[Fact]] = defaultdict(list)
        for fact in facts:
            by_lane[lane_of(fact.sid, self._config.lanes)].append(fact)
        appends = []
        for lane, of_lane in by_lane.items():
            self._seq += 1
            entry = encode_uplink(self.id, self._seq, of_lane)
            appends.append(Append(self._bus.keys.uplink(lane), self.id, self._seq, entry, 64_000_000))
        results = await self._persist(lambda: self._bus.appender.append(appends))
        if not {AppendResult.APPENDED, AppendResult.DUPLICATE}.issuperset(results):
            self._history.violated(f"{self.id} could not append: {results}")

    async def _receive(self) -> None:
        while True:
            for entry in await self._persist(lambda: self._inbox.read(1000)):
                for command in decode_downlink(entry.entry).commands:
                    self._carry_out(command)
            await self._persist(self._inbox.trim)

    def _carry_out(self, command: Any) -> None:
        match command:
            case Accept(sid=sid, generation=generation) if sid in self.roamers:
                self.roamers.let_in(sid, generation)
            case Evict(sid=sid, generation=generation):
                self.roamers.evict(sid, generation)
            case Refuse(sid=sid) | Disconnect(sid=sid) if sid in self.roamers:
                self._history.cut(sid)
            case Accept(sid=sid):
                client = self.clients[sid]
                if not client.record.accepted and not client.record.left:
                    client.record.accepted = True
                    for plan in client.waiting:
                        self._put_event(client.record, plan)
            case Emit(to=None):
                pass  # of clients that roam
            case Emit(to=[sid], packet=packet):
                self._history.saw_emit(sid, packet)
            case Ack(sid=sid, packet=packet):
                self._history.saw_answer(sid, packet)
            case Refuse(sid=sid) | Disconnect(sid=sid):
                self._history.cut(sid)
                if self.clients[sid].record.accepted:
                    self._put(ClientDisconnected(sid, "server disconnect"))
            case _:
                self._history.violated(f"{self.id} got {command}")

    async def _persist(self, operation: Any) -> Any:
        backoff = Backoff()
        while True:
            try:
                return await operation()
            except BusUnavailable:
                await asyncio.sleep(next(backoff))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and not self.dead:
            self._history.violated(f"{self.id}'s script ended: {task.exception()!r}")
