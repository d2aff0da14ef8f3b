"""The composition root: builds an app-node's parts, starts and stops them in order.

One that only emits opens the outbox; the first callback opens the inbox; `start` takes lanes.
"""

import asyncio
import os
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from app_node.clients.callbacks import AckBook
from app_node.clients.client import Clients
from app_node.clients.incidents import Incidents
from app_node.clients.lifecycle import Admission
from app_node.counters import Counters
from app_node.downlink.emitter import Emitter
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.downlink.routes import Routes
from app_node.handlers.application import Application
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Clock, Lane, steady
from app_node.lanes.progress import open_scope
from app_node.membership.presence import Presence
from app_node.membership.reaper import Reaper
from app_node.streams import Streams, redis_streams
from app_node.uplink.answers import Inbox
from app_node.uplink.consumer import Consumer
from app_node.uplink.dispatcher import Dispatcher
from sio_cluster.node.config import Config
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.protocol.ids import new_node_id
from sio_cluster.streams.redis.records import ClientRecord

log = structlog.get_logger()

_T = TypeVar("_T")
StreamsFactory = Callable[[Config, str], Streams]


class AppNode:
    """One life of an app-node. After `stop` it is over; a server object makes another one when it is used again."""

    def __init__(
        self,
        config: Config,
        application: Application,
        *,
        async_handlers: bool,
        always_connect: bool,
        streams: StreamsFactory = redis_streams,
        clock: Clock = steady,
    ) -> None:
        self.config = config
        self.application = application
        self.json_module = application.json_module
        self.id = new_node_id(config.node_name or default_name(), os.urandom)
        self.counters = Counters()
        self.clients = Clients()
        self.acks = AckBook(self.counters)
        self._clock = clock
        self._streams = streams(config, self.id)
        self._build_downlink()
        self._build_uplink(async_handlers, always_connect)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._opening = asyncio.Lock()
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = False
        self.failure: BaseException | None = None
        self.over = asyncio.Event()  # stopped, or failed

    def _build_downlink(self) -> None:
        config, streams = self.config, self._streams
        self.routes = Routes(streams.registry, self._clock, self.counters)
        self.outbox = Outbox(
            streams.appender,
            sender=self.id,
            inbox_key=streams.bus.keys.inbox,
            inbox_max_bytes=config.inbox_max_bytes,
            max_bytes=config.max_inflight_bytes,
            is_known=self.routes.knows,
            clock=self._clock,
            counters=self.counters,
        )
        self.writer = RecordWriter(streams.records, self.counters)
        self.emitter = Emitter(self.outbox, self.routes, self.id, self.counters)
        self.presence = Presence(
            node_id=self.id,
            inbox=streams.bus.keys.inbox(self.id),
            inbox_max_bytes=config.inbox_max_bytes,
            heartbeat_ms=config.heartbeat_ms,
            ttl_ms=min(config.node_timeout_ms, config.lease_ms),
            registry=streams.registry,
            appender=streams.appender,
            clock=self._clock,
        )
        self.inbox = Inbox(streams.inbox, self.acks, self.presence.canary_came_back, self.counters, self.json_module)

    def _build_uplink(self, async_handlers: bool, always_connect: bool) -> None:
        config, streams = self.config, self._streams
        incidents = Incidents(self.counters)
        self.admission = Admission(
            application=self.application,
            clients=self.clients,
            outbox=self.outbox,
            writer=self.writer,
            records=self,
            acks=self.acks,
            incidents=incidents,
            always_connect=always_connect,
        )
        self.dispatcher = Dispatcher(
            application=self.application,
            admission=self.admission,
            clients=self.clients,
            outbox=self.outbox,
            writer=self.writer,
            incidents=incidents,
            async_handlers=async_handlers,
            trace=config.log_level == "debug",
        )
        self.consumer = Consumer(streams.lanes, self.dispatcher, self.routes, config.max_inflight_bytes, self.counters)
        self.keeper = LaneKeeper(
            node_id=self.id,
            lanes=config.lanes,
            lease_ms=config.lease_ms,
            handover_ms=config.shutdown_ms,
            leases=streams.leases,
            reader=streams.lanes,
            registry=streams.registry,
            clock=self._clock,
            counters=self.counters,
            on_take=self.consumer.take_claimed,
            on_lost=self._drop_lane,
        )
        self.reaper = Reaper(
            sender=self.id,
            lanes=config.lanes,
            lane_key=streams.bus.keys.uplink,
            lane_max_bytes=config.lane_max_bytes,
            heartbeat_ms=config.heartbeat_ms,
            clock=self._clock,
            registry=streams.registry,
            records=streams.records,
            appender=streams.appender,
            is_in_charge=lambda: (lane := self.keeper.held.get(0)) is not None and lane.held(),
            counters=self.counters,
        )

    # --- start: each step includes those before it

    async def open(self) -> None:
        """For emitting: connects to Redis, waiting for it with log lines. Raises ClusterMismatch."""
        if self._is_open:
            if self._loop is not asyncio.get_running_loop():
                raise RuntimeError("this server belongs to another event loop: await shutdown() before that one ends")
            return
        async with self._opening:
            if self._is_open:
                return
            await self._connect()
            self._loop = asyncio.get_running_loop()
            self._run("outbox", self.outbox.run())
            self._run("records", self.writer.run())
            self._is_open = True

    async def open_acks(self, *, takes_lanes: bool = False) -> None:
        """For callbacks: an epoch, so that ack ids are unique, and the inbox into which answers come."""
        if self.acks.is_open and not takes_lanes:
            return
        await self.open()
        async with self._opening:
            if not self.acks.is_open:
                self.acks.open(await self._persist(self._streams.registry.next_epoch))
                self._run("inbox", self.inbox.run())
            if "presence" not in self._tasks:
                self._run("presence", self.presence.run(takes_lanes=takes_lanes))

    async def start(self) -> None:
        """Takes lanes and runs handlers. Returns when this node has its part of the lanes, as far as they are free."""
        if "plan" in self._tasks:
            return
        presence = self._tasks.pop("presence", None)
        if presence is not None:
            presence.cancel()
        await self.open()
        await self._persist(lambda: self.presence.beat(takes_lanes=True))
        await self.open_acks(takes_lanes=True)
        self._run("watch", self.keeper.run_watch())
        self._run("renew", self.keeper.run_renew())
        self._run("commit", self.consumer.run_commit(self.keeper))
        self._run("read", self.consumer.run_read(self.keeper))
        self._run("plan", self.keeper.run_plan())
        self._run("reaper", self.reaper.run())
        await self._first(self.keeper.planned.wait())
        log.info("app_node_started", node=self.id, lanes=sorted(self.keeper.held))

    # --- stop: the other way round, and nothing is committed before its output is in Redis

    async def stop(self) -> None:
        """Hands the lanes over when their handlers have ended, flushes, and leaves. Bounded by SHUTDOWN_MS."""
        if self._ending:
            await self.over.wait()
            return
        self._ending = True
        log.info("app_node_stopping", node=self.id, lanes=len(self.keeper.held))
        try:
            async with asyncio.timeout(self.config.shutdown_ms / 1000 + 2):
                await self._wind_down()
        except TimeoutError:
            log.warning("app_node_stop_late", node=self.id)
        except (BusUnavailable, BusRefused) as error:
            log.warning("app_node_stop_without_redis", node=self.id, error=str(error))
        await self._end()
        log.info("app_node_stopped", node=self.id, **self.counters.snapshot())

    async def _wind_down(self) -> None:
        if "plan" in self._tasks:
            await self.presence.drain()  # the others divide the lanes without this node
            await self.keeper.hand_over_all()  # handlers end, output is flushed, entries committed, leases released
        if self._is_open:
            await self.outbox.drained()
            await self.writer.drained()
            await self.presence.leave()  # one that only emitted leaves sequence numbers behind, too

    async def _end(self) -> None:
        for lane in list(self.keeper.held.values()):
            self._drop_lane(lane)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.routes.stop()
        await self._streams.lanes.close()
        await self._streams.inbox.close()
        await self._streams.bus.stop()
        self._is_open = False
        self.over.set()

    # --- for others

    @property
    def is_ready(self) -> bool:
        """Whether this node can serve: it takes part in dividing the lanes, and Redis was proved both ways."""
        return (
            self.keeper.planned.is_set() and self.presence.is_proved() and not self._ending and not self.over.is_set()
        )

    async def load(self, sid: str) -> ClientRecord | None:
        """The client's record. Waits out Redis' absence."""
        return await self._persist(lambda: self._streams.records.load(sid))

    async def load_session(self, sid: str) -> bytes | None:
        return await self._persist(lambda: self._streams.records.load_session(sid))

    async def save_session(self, sid: str, session: bytes) -> bool:
        """Inside a handler of a lane that was lost it raises LeaseLost."""
        scope = open_scope()
        lease = None if scope is None else scope.lane.lease
        return await self._persist(lambda: self._streams.records.save_session(sid, session, lease))

    # --- how

    def _drop_lane(self, lane: Lane) -> None:
        self.dispatcher.drop_lane(lane)
        self.consumer.drop_lane(lane)

    async def _connect(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._streams.bus.start()
            except BusUnavailable as error:
                wait = next(backoff)
                log.warning("waiting_for_redis", error=str(error), wait_ms=round(wait * 1000))
                await asyncio.sleep(wait)
            else:
                return

    async def _persist(self, operation: Callable[[], Awaitable[_T]]) -> _T:
        """Tries until Redis answers."""
        backoff = Backoff()
        while True:
            try:
                return await operation()
            except (BusUnavailable, BusRefused) as error:
                wait = next(backoff)
                log.warning("redis_retry", error=str(error), wait_ms=round(wait * 1000))
                await asyncio.sleep(wait)

    def _run(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(loop, name=f"app-node-{name}")
        task.add_done_callback(self._loop_ended)
        self._tasks[name] = task

    def _loop_ended(self, task: "asyncio.Task[None]") -> None:
        """Loops never end by themselves: a defect in one of them ends the node, so that it is started anew."""
        if task.cancelled() or self._ending:
            return
        self.failure = task.exception() or RuntimeError(f"{task.get_name()} ended")
        log.critical("loop_failed", loop=task.get_name(), exc_info=self.failure)
        for lane in list(self.keeper.held.values()):
            self.keeper.lose(lane)
        self.over.set()

    async def _first(self, ready: Coroutine[Any, Any, Any]) -> None:
        """Waits for `ready`, or until the node has failed."""
        waits = {asyncio.ensure_future(ready), asyncio.ensure_future(self.over.wait())}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if self.failure is not None:
            raise self.failure


def default_name() -> str:
    """The host's name as far as a node name can show it."""
    name = re.sub(r"[^a-z0-9]", "", socket.gethostname().lower())[:32]
    return name or "app"
