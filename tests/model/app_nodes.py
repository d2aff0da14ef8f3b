"""One app-node of the simulated cluster: the real server object, on a loop of its own, behind simulated connections."""

import asyncio
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from tests.model.history import History, Run

from app_node.counters import DEFECT
from app_node.interface.server import ClusterServer
from app_node.lanes.progress import current_progress
from app_node.starting import STOPPED
from sio_cluster.node.settings.config import Config
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.simulation import Network, Remote, RemoteInboxReader, RemoteLaneReader, SteppedLoop

PAGE_BYTES = 1
"""A page of what a former holder left has one entry: few entries of one lane are left at a time."""


class HandlerError(Exception):
    """The error that a failing handler raises."""


class Connections:
    """The connections of a process to the simulated Redis."""

    def __init__(self, network: Network, loop: SteppedLoop, broker: MemoryBroker, name: str) -> None:
        self.broker = broker
        self.commands, self.lane_reads, self.quarantine_reads, self.inbox_reads = self.all = [
            network.connection(loop, f"{name}.{kind}") for kind in ("commands", "lanes", "quarantines", "inbox")
        ]

    def make_bus(self, config: Config) -> "SimulatedBus":
        return SimulatedBus(self, MemoryBus(config, self.broker))

    def reset(self) -> None:
        for connection in self.all:
            connection.reset()

    def close(self) -> None:
        for connection in self.all:
            connection.close()


class SimulatedBus:
    """`streams.api.bus.Bus`: each call of the fake behind it is a round trip over one of the process' connections."""

    def __init__(self, connections: Connections, fake: MemoryBus) -> None:
        self._connections = connections
        self._fake = fake
        self.keys = fake.keys
        self.appender: Any = self._remote(fake.appender)
        self.leases: Any = self._remote(fake.leases)
        self.registry: Any = self._remote(fake.registry)
        self.records: Any = self._remote(fake.records)
        self.selections: Any = self._remote(fake.selections)
        self.homes: Any = self._remote(fake.homes)
        self.interest: Any = self._remote(fake.interest)
        self.room_index: Any = self._remote(fake.room_index)
        self.store: Any = self._remote(fake.store)
        self.passes: Any = self._remote(fake.passes)
        self.presences: Any = self._remote(fake.presences)
        self.lookup = fake.lookup
        self._lane_reads = iter((connections.lane_reads, connections.quarantine_reads))

    def inbox_reader(
        self, node_id: str, max_batch_bytes: int = 4_000_000, *, keeps_log: bool = False
    ) -> RemoteInboxReader:
        over = self._connections
        fake = self._fake.inbox_reader(node_id, keeps_log=keeps_log)
        return RemoteInboxReader(over.commands, over.inbox_reads, fake)

    def lane_reader(self, node_id: str, max_page_bytes: int = 1_000_000) -> RemoteLaneReader:
        fake = self._fake.lane_reader(node_id, PAGE_BYTES)
        return RemoteLaneReader(self._connections.commands, next(self._lane_reads), fake)

    async def start(self) -> None:
        await self._remote(self._fake).start()

    async def stop(self) -> None:
        return None

    def _remote(self, fake: Any) -> Any:
        return Remote(self._connections.commands, fake)


class SimulatedAppNode:
    """Starts at once. While `paused`, its event loop stands still."""

    def __init__(
        self,
        name: str,
        *,
        loop: SteppedLoop,
        connections: Connections,
        config: Config,
        history: History,
        are_hangs_over: Callable[[], bool],
        async_handlers: bool,
    ) -> None:
        self.loop = loop
        self.connections = connections
        self.paused = False
        self.dead = False
        self.stopping: asyncio.Task[None] | None = None
        self._history = history
        self._are_hangs_over = are_hangs_over
        self.loop.loop.set_exception_handler(self._loop_error)
        self.server = ClusterServer(
            config, make_bus=connections.make_bus, clock=loop.time, async_handlers=async_handlers
        )
        with patch("app_node.app.new_node_id", lambda *_: name):
            self.node = self.server.node
        self.id = self.node.id
        self._register()
        self.starting = loop.loop.create_task(self.server.start())

    def stop(self) -> None:
        """A clean stop begins."""
        self.loop.woken = True
        self.stopping = self.loop.loop.create_task(self.server.shutdown())

    def kill(self) -> None:
        """Ends it as kill -9 does: nothing more leaves it."""
        self.dead = True
        self.connections.close()
        self.loop.close()
        self._history.died(self.id)

    def check(self) -> None:
        """Reports a failure of any of its parts."""
        if self.node.loops.failure is not None:
            self._history.violated(f"{self.id} failed: {self.node.loops.failure!r}")
        if self.node.counters.outcomes[DEFECT]:
            self._history.violated(f"a defect in {self.id}'s dispatcher")
        if not self.starting.done() or self.starting.cancelled():
            return
        error = self.starting.exception()
        cut_off = self.stopping is not None and error is not None and error.args == (STOPPED,)
        if error is not None and not cut_off:
            self._history.violated(f"{self.id} did not start: {error!r}")

    def _loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.dead:
            self._history.violated(f"{self.id}: {context.get('message')}: {context.get('exception')!r}")

    # --- the application

    def _register(self) -> None:
        self.server.on("connect", self._connect)
        self.server.on("disconnect", self._disconnect)
        self.server.on("work", self._work)

    async def _connect(self, sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
        if not self.dead:
            again = self.server.is_redelivered()
            self._history.connect(self.id, _number(), sid, is_reconnect=is_reconnect, redelivered=again)
            await self._tell_of(sid)

    async def _disconnect(self, sid: str, reason: str) -> None:
        if not self.dead:
            self._history.disconnect(self.id, _number(), sid, reason, redelivered=self.server.is_redelivered())
            await self._tell_of(sid)

    async def _tell_of(self, sid: str) -> None:
        """A client that roams has come or gone: says so to all. So its handlers have output that must land."""
        if self._history.clients[sid].roams:
            await self.server.emit("moved", sid)

    async def _work(self, sid: str, seq: int, plan: str | float, is_redelivered: bool) -> list[int]:
        if self.dead:
            raise asyncio.CancelledError
        run = self._history.start(self.id, _number(), sid, seq, is_redelivered)
        try:
            await self._emit(sid, run)
            match plan:
                case "hang":
                    while not self._are_hangs_over():  # an Event would belong to one node
                        await asyncio.sleep(0.2)
                case "raise":
                    raise HandlerError
                case float() if plan:
                    await asyncio.sleep(plan)
                    await self._emit(sid, run)
            run.finished = True
            return [seq, run.token]
        finally:
            self._history.end(self.id, sid)

    async def _emit(self, sid: str, run: Run) -> None:
        await self.server.emit("seen", [run.seq, run.token, self._history.next_serial(sid)], to=sid)


def _number() -> int:
    """The number of the lane, or of the quarantine, for which the running handler acts."""
    progress = current_progress.get()
    assert progress is not None
    return progress.lane.number
