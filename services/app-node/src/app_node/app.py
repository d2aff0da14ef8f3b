"""The composition root: what an app-node is made of, and in which order its parts start and stop.

It opens in three steps, each of which includes those before it:

1. `open`: the outbox and the record writer run. Enough for a process that only emits.
2. `open_callbacks`: it reads its own inbox, so that clients' answers reach callbacks.
3. `start`: it takes lanes and runs handlers, as soon as the application has any.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection

import structlog

from app_node.blocking import BlockWatch
from app_node.clients.callbacks import Callbacks
from app_node.clients.client import Clients
from app_node.clients.incidents import Incidents
from app_node.clients.lifecycle import ClientLifecycle
from app_node.clients.record_access import RecordAccess
from app_node.clients.sessions import Sessions
from app_node.clock import Clock, steady
from app_node.counters import Counters
from app_node.downlink.emitter import Emitter
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.downlink.routes import Routes
from app_node.event_loop import OwnEventLoop
from app_node.handlers.application import Application
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from app_node.lanes.readers import Readers
from app_node.membership.presence import AppNodePresence
from app_node.membership.reaper import Reaper
from app_node.metrics import Levels, families
from app_node.payloads import CLIENTS_TAKE_ATTACHMENTS
from app_node.uplink.alone import Alone
from app_node.uplink.answers import Answers
from app_node.uplink.condemned import Condemned
from app_node.uplink.consumer import Consumer
from app_node.uplink.dead_letters import DeadLetters
from app_node.uplink.dispatcher import Dispatcher
from app_node.uplink.suspects import Suspects
from sio_cluster.node.loops import Loops
from sio_cluster.node.membership.inbox import InboxLoop
from sio_cluster.node.membership.joining import join
from sio_cluster.node.membership.naming import name_of_host
from sio_cluster.node.membership.presence import unready_because
from sio_cluster.node.monitoring.metrics import exposition
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.ids import is_quarantine, new_node_id
from sio_cluster.streams.api.bus import Bus
from sio_cluster.streams.api.lanes import Claimed
from sio_cluster.streams.redis import RedisBus

log = structlog.get_logger()

BusFactory = Callable[[Config], Bus]

STOP_SLACK_S = 2.0
"""How much longer than SHUTDOWN_MS a stop may take: the last flush, and leaving the registry."""


class AppNode:
    """One life of an app-node. After `stop` it is over: a server object that is used again makes another one."""

    def __init__(
        self,
        config: Config,
        application: Application,
        *,
        async_handlers: bool,
        always_connect: bool,
        make_bus: BusFactory = RedisBus,
        clock: Clock = steady,
    ) -> None:
        self.config = config
        self.application = application
        self.id = new_node_id(config.node_name or name_of_host("app"), os.urandom)
        self.counters = Counters()
        self.bus = make_bus(config)
        self.max_attachments = max(CLIENTS_TAKE_ATTACHMENTS, config.max_attachments)
        self._clock = clock
        # Its parts. Each group uses those above it.
        self._build_downlink()
        self._build_clients(always_connect)
        self._build_uplink(async_handlers)
        self._build_lanes()
        self._build_membership()
        # Its life.
        self.loops = Loops(on_failure=self._fail)
        self.over = asyncio.Event()  # stopped, or failed
        self._opening = asyncio.Lock()
        self._starting = asyncio.Lock()
        self._started = False
        self._event_loop = OwnEventLoop(self._close)  # entered once it is open
        self._stopping = False

    def _build_downlink(self) -> None:
        """What goes to clients: commands into the inboxes of io-nodes, and changes of client records."""
        config, bus = self.config, self.bus
        self.routes = Routes(bus.registry, self._clock, self.counters)
        self.outbox = Outbox(
            bus.appender,
            node_id=self.id,
            inbox_key=bus.keys.inbox,
            inbox_max_bytes=config.inbox_max_bytes,
            max_bytes=config.max_inflight_bytes,
            is_known=self.routes.knows,
            clock=self._clock,
            counters=self.counters,
        )
        self.writer = RecordWriter(bus.records, self.counters)
        self.emitter = Emitter(self.outbox, self.routes, self.id, self.counters)

    def _build_clients(self, always_connect: bool) -> None:
        """Who the clients are, and how they come and go."""
        self.clients = Clients()
        self.callbacks = Callbacks(self.counters, self._clock)
        self.incidents = Incidents(self.counters)
        self.records = RecordAccess(self.bus.records, self.counters)
        self.sessions = Sessions(self.clients, self.records)
        self.lifecycle = ClientLifecycle(
            application=self.application,
            clients=self.clients,
            outbox=self.outbox,
            writer=self.writer,
            records=self.records,
            callbacks=self.callbacks,
            incidents=self.incidents,
            always_connect=always_connect,
        )

    def _build_uplink(self, async_handlers: bool) -> None:
        """What comes from clients: lane entries to handlers."""
        config, counters = self.config, self.counters
        page_bytes = config.max_inflight_bytes // config.lanes  # a page of each lane may wait for its turn
        self.readers = Readers(
            self.bus.lane_reader(self.id, page_bytes),
            self.bus.lane_reader(self.id, page_bytes),
        )
        self.dispatcher = Dispatcher(
            application=self.application,
            lifecycle=self.lifecycle,
            clients=self.clients,
            outbox=self.outbox,
            writer=self.writer,
            incidents=self.incidents,
            async_handlers=async_handlers,
            max_attachments=self.max_attachments,
            trace=config.log_level == "debug",
        )
        self.suspects = Suspects(
            self.readers.lanes,
            self.dispatcher,
            counters,
            announce=self._announce,
            may_begin=self._may_begin,
        )
        self.consumer = Consumer(
            self.readers.lanes,
            self.routes,
            config.max_inflight_bytes,
            counters,
            handling=self.suspects,
            condemned=Condemned(self.application, self.outbox, self.writer, self.records),
            letters=DeadLetters(self.readers.lanes, counters),
        )
        self.alone = Alone(
            self.readers.quarantines, self.consumer, self.clients, counters, on_empty=self.suspects.emptied
        )

    def _build_lanes(self) -> None:
        """Which lanes this app-node holds."""
        config = self.config
        self.keeper = LaneKeeper(
            node_id=self.id,
            lanes=config.lanes,
            lease_ms=config.lease_ms,
            handover_ms=config.shutdown_ms,
            leases=self.bus.leases,
            reader=self.readers,
            registry=self.bus.registry,
            clock=self._clock,
            counters=self.counters,
            on_take=self._take_lane,
            on_lost=self._drop_lane,
            quarantined=lambda: self.suspects.quarantined,
            settled=self.suspects.settled,
        )
        self.block_watch = BlockWatch(
            block_ms=config.handler_block_ms,
            lease_ms=config.lease_ms,
            holds_lanes=lambda: bool(self.keeper.held),
            counters=self.counters,
        )

    def _build_membership(self) -> None:
        """Its place among the nodes, its own inbox, and the burial of io-nodes that died."""
        config, bus = self.config, self.bus
        self.presence = AppNodePresence(
            self.id, config, bus, self._clock, self.counters, lambda: self.application.has_handlers
        )
        self.inbox_reader = bus.inbox_reader(self.id)
        canary_returned, json_module = self.presence.proof.returned, self.application.json_module
        answers = Answers(self.callbacks, canary_returned, self.counters, json_module)
        inbox_retry = Retry("inbox", self.counters.redis_retries)
        self.inbox = InboxLoop(self.inbox_reader, answers.take, inbox_retry, self._clock)
        self.reaper = Reaper(
            node_id=self.id,
            lanes=config.lanes,
            lane_key=bus.keys.uplink,
            lane_max_bytes=config.lane_max_bytes,
            heartbeat_ms=config.heartbeat_ms,
            clock=self._clock,
            registry=bus.registry,
            records=bus.records,
            appender=bus.appender,
            is_in_charge=lambda: self.keeper.holds(0),
            counters=self.counters,
        )

    # --- start

    async def open(self) -> None:
        """For emitting. Waits for Redis. Raises ConfigError where Redis refuses this node, or the cluster differs."""
        self._event_loop.require()
        if self._event_loop.entered:
            return
        async with self._opening:
            if self._event_loop.entered:
                return
            await join(self.bus.start, Retry("start", self.counters.redis_retries))
            self.loops.start("outbox", self.outbox.run())
            self.loops.start("records", self.writer.run())
            await self._event_loop.enter()

    async def open_callbacks(self) -> None:
        """For callbacks: gets an epoch, which makes ack ids unique, and reads the inbox into which answers come."""
        if self.callbacks.is_open:
            return
        await self.open()
        async with self._opening:
            if self.callbacks.is_open:
                return
            retry = Retry("epoch", self.counters.redis_retries)
            self.callbacks.open(await retry.call(self.bus.registry.next_epoch))
            self.loops.start("inbox", self.inbox.run())
            self.loops.start("presence", self.presence.run())

    async def start(self, before: Callable[[], Awaitable[None]]) -> None:
        """Takes lanes and runs handlers, after `before` (what the application does at each start).

        Without any handler it takes no lanes until there is one.

        Returns when the lanes have been divided, and this node has those of its own that are free. Does nothing if the
        node has started; while another call starts it, waits for that one. Raises what `before` and `open` raise, and
        what a loop raised that failed meanwhile.
        """
        async with self._starting:
            if self._started:
                return
            await before()
            await self.open()
            await self.presence.take_lanes()  # the lanes are divided among registered app-nodes
            await self.open_callbacks()
            if "plan" not in self.loops:  # else an earlier call started them, and was cancelled
                if self.config.handler_block_ms:
                    self.loops.start("block watch", self.block_watch.run())  # before the first handler runs
                self.loops.start("watch", self.keeper.run_watch())
                self.loops.start("renew", self.keeper.run_renew())
                self.loops.start("commit", self.consumer.run_commit(self.keeper))
                self.loops.start("read", self.consumer.run_read(self.keeper))
                self.loops.start("alone", self.alone.run(self.keeper))
                self.loops.start("suspects", self.suspects.run())
                self.loops.start("plan", self.keeper.run_plan())
                self.loops.start("reaper", self.reaper.run())
            await self._planned()
            self._started = True
            log.info("app_node_started", node=self.id, lanes=self.keeper.lanes_held)

    async def _planned(self) -> None:
        """Waits until the lanes have been divided, or this node is over."""
        if not self.application.has_handlers:
            log.warning("app_node_takes_no_lanes", node=self.id, why="the application has no handlers")
            return
        waits = {asyncio.ensure_future(event.wait()) for event in (self.keeper.planned, self.over)}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if self.loops.failure is not None:
            raise self.loops.failure

    # --- stop: the other way round, and nothing is committed before its output is in Redis

    async def stop(self) -> None:
        """Hands the lanes over when their handlers have ended, flushes, and leaves. Within SHUTDOWN_MS and 2 s."""
        if self._stopping:
            await self.over.wait()
            return
        self._event_loop.require()
        self._stopping = True
        log.info("app_node_stopping", node=self.id, lanes=len(self.keeper.lanes_held))
        try:
            async with asyncio.timeout(self.config.shutdown_ms / 1000 + STOP_SLACK_S):
                await self._wind_down()
        except TimeoutError:
            log.warning("app_node_stop_late", node=self.id)
        except BusError as error:
            log.warning("app_node_stop_without_redis", node=self.id, error=str(error))
        await self._end()
        log.info("app_node_stopped", node=self.id, **self.counters.totals())

    async def _wind_down(self) -> None:
        if "plan" in self.loops:
            await self.presence.drain()  # the others divide the lanes without this node
            await self.keeper.hand_over_all()  # handlers end, output is flushed, entries are committed, leases released
        if self._event_loop.entered:
            await self.outbox.drained()
            await self.writer.drained()
            await self.presence.leave()  # also where it only emitted: that leaves sequence numbers behind

    async def _end(self) -> None:
        await self._close()
        await self._event_loop.leave()
        self.over.set()

    async def _close(self) -> None:
        for lane in list(self.keeper.held.values()):
            self._drop_lane(lane)
        await self.loops.stop()
        await self.routes.stop()
        await self.readers.close()
        await self.inbox_reader.close()
        await self.bus.stop()

    # --- lanes that come and go

    async def _take_lane(self, lane: Lane, claimed: Claimed) -> None:
        if is_quarantine(lane.number):
            self.alone.take(lane, claimed)
        else:
            self.consumer.take_claimed(lane, await self.suspects.take(lane, claimed))

    async def _may_begin(self) -> None:
        await self.consumer.resumed.wait()

    async def _announce(self, quarantined: Collection[int]) -> None:
        await self.presence.announce(quarantined, alone=bool(self.keeper.assigned))

    def _drop_lane(self, lane: Lane) -> None:
        self.dispatcher.drop_lane(lane)
        self.suspects.drop_lane(lane)
        self.alone.drop_lane(lane)
        self.consumer.drop_lane(lane)

    def _fail(self) -> None:
        """A loop has failed. That is a defect, so nothing goes on: other app-nodes take the lanes over."""
        if self._stopping:
            return
        for lane in list(self.keeper.held.values()):
            self.keeper.lose(lane)
        self.over.set()

    # --- what others ask

    @property
    def stranded(self) -> bool:
        """Whether its event loop was closed before `stop`: nothing of this node can run any more."""
        return self._event_loop.closed

    @property
    def cut_off(self) -> bool:
        """Whether it sends nothing more, since its event loop has ended, or is about to, before `stop`."""
        return self._event_loop.closed or self._event_loop.ending

    @property
    def unready_because(self) -> str:
        """Why this node cannot serve now. "" while it takes part in dividing the lanes, and Redis passes messages."""
        idle = "plan" in self.loops and not self.application.has_handlers  # it takes no lanes, and misses none
        stopping, started = self._stopping or self.over.is_set(), idle or self.keeper.planned.is_set()
        why = unready_because(self.presence.proof, stopping=stopping, started=started)
        if not why and self.keeper.readable and self.consumer.reading_is_stuck:
            return "the lanes cannot be read"
        return why

    def metrics(self) -> bytes:
        """All counts of this node's life, in Prometheus' text format."""
        levels = Levels(
            ready=not self.unready_because,
            facts_in_work=self.consumer.facts_in_work,
            bytes_in_work=self.consumer.inflight_bytes,
            commands_emitted=self.outbox.emitted,
            commands_waiting=self.outbox.waiting,
            lanes_held=len(self.keeper.lanes_held),
        )
        return exposition(families(self.counters, levels))
