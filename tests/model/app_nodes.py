"""One app-node of the simulated cluster: the real server object, on a loop of its own, behind simulated connections."""

import asyncio
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from tests.model.ledger import Ledger, Run

from app_node.interface.server import ClusterServer
from app_node.streams import Streams
from sio_cluster.node.config import Config
from sio_cluster.streams.memory import (
    MemoryAppender,
    MemoryBroker,
    MemoryBus,
    MemoryClientRecords,
    MemoryInboxReader,
    MemoryLaneReader,
    MemoryLeases,
    MemoryRegistry,
)
from sio_cluster.testing.simulation import Link, Network, Remote, RemoteInboxReader, RemoteLaneReader, SteppedLoop


class HandlerError(Exception):
    """What a handler of the application raises."""


class Links:
    """The three connections of a process, and the fakes behind them."""

    def __init__(self, network: Network, loop: SteppedLoop, broker: MemoryBroker, name: str) -> None:
        self.broker = broker
        self.commands, self.lane_reads, self.inbox_reads = self.all = [
            network.link(loop, f"{name}.{kind}") for kind in ("commands", "lanes", "inbox")
        ]

    def streams(self, config: Config, node_id: str) -> Streams:
        bus = MemoryBus(config, self.broker)
        return Streams(
            _RemoteBus(self.commands, bus),
            self._remote(MemoryAppender(bus)),
            RemoteInboxReader(self.commands, self.inbox_reads, MemoryInboxReader(bus, node_id)),
            RemoteLaneReader(self.commands, self.lane_reads, MemoryLaneReader(bus, node_id)),
            self._remote(MemoryLeases(bus)),
            self._remote(MemoryRegistry(bus)),
            self._remote(MemoryClientRecords(bus, config.lanes)),
        )

    def reset(self) -> None:
        for link in self.all:
            link.reset()

    def close(self) -> None:
        for link in self.all:
            link.close()

    def _remote(self, fake: Any) -> Any:
        return Remote(self.commands, fake)


class _RemoteBus:
    """`Bus`: its start is a round trip."""

    def __init__(self, link: Link, bus: MemoryBus) -> None:
        self.keys = bus.keys
        self.broker = bus.broker
        self.start = Remote(link, bus).start

    async def stop(self) -> None:
        return None


class SimulatedAppNode:
    """Starts at once. `paused`: its loop is not turned."""

    def __init__(
        self,
        name: str,
        *,
        loop: SteppedLoop,
        links: Links,
        config: Config,
        ledger: Ledger,
        are_hangs_over: Callable[[], bool],
        async_handlers: bool,
    ) -> None:
        self.loop = loop
        self.links = links
        self.paused = False
        self.dead = False
        self.stopping: asyncio.Task[None] | None = None
        self._ledger = ledger
        self._are_hangs_over = are_hangs_over
        self.loop.loop.set_exception_handler(self._loop_error)
        self.server = ClusterServer(config, streams=links.streams, clock=loop.time, async_handlers=async_handlers)
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
        """As kill -9: nothing more leaves it."""
        self.dead = True
        self.links.close()
        self.loop.close()
        self._ledger.died(self.id)

    def check(self) -> None:
        """No part of it has failed."""
        if self.node.failure is not None:
            self._ledger.violated(f"{self.id} failed: {self.node.failure!r}")
        if self.node.counters["failed.dispatch"]:
            self._ledger.violated(f"a defect in {self.id}'s dispatcher")
        if self.starting.done() and not self.starting.cancelled() and (error := self.starting.exception()):
            self._ledger.violated(f"{self.id} did not start: {error!r}")

    def _loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.dead:
            self._ledger.violated(f"{self.id}: {context.get('message')}: {context.get('exception')!r}")

    # --- the application

    def _register(self) -> None:
        self.server.on("connect", self._connect)
        self.server.on("disconnect", self._disconnect)
        self.server.on("work", self._work)

    async def _connect(self, sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
        if not self.dead:
            self._ledger.connect(self.id, sid, is_reconnect)

    async def _disconnect(self, sid: str, reason: str) -> None:
        if not self.dead:
            self._ledger.disconnect(self.id, sid, reason)

    async def _work(self, sid: str, seq: int, plan: str | float, is_redelivered: bool) -> list[int]:
        if self.dead:
            raise asyncio.CancelledError
        run = self._ledger.start(self.id, sid, seq, is_redelivered)
        try:
            await self._emit(sid, run)
            match plan:
                case "hang":
                    while not self._are_hangs_over():  # noqa: ASYNC110 - an Event would belong to one node
                        await asyncio.sleep(0.2)
                case "raise":
                    raise HandlerError
                case float() if plan:
                    await asyncio.sleep(plan)
                    await self._emit(sid, run)
            run.finished = True
            return [seq, run.token]
        finally:
            self._ledger.end(self.id, sid)

    async def _emit(self, sid: str, run: Run) -> None:
        await self.server.emit("seen", [run.seq, run.token, self._ledger.next_serial(sid)], to=sid)
