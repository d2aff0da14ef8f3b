"""The composition root: what an app-node is made of, and in which order its parts start and stop.

Each folder makes its own objects, in `parts.py`. Here they are given each other.

An app-node opens in three steps, each of which includes those before it:

1. `open`: the outbox and the record writer run. Enough for a process that only emits.
2. `open_callbacks`: it reads its own inbox, so that clients' answers reach callbacks.
3. `start`: it takes lanes and runs handlers, as soon as the application has any.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection

import structlog

from app_node.blocking import BlockWatch
from app_node.clients.parts import ClientParts
from app_node.clock import Clock, steady
from app_node.counters import Counters
from app_node.downlink.parts import DownlinkParts
from app_node.event_loop import OwnEventLoop
from app_node.handlers.application import Application
from app_node.lanes.commits import Commits
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from app_node.lanes.progress import open_progress
from app_node.membership.parts import MembershipParts
from app_node.metrics import Levels, families
from app_node.payloads import CLIENTS_TAKE_ATTACHMENTS
from app_node.starting import STOPPED, Start
from app_node.tracing import Traces
from app_node.uplink.parts import UplinkParts
from sio_cluster.compiled.form import running_form
from sio_cluster.node.loops import Loops
from sio_cluster.node.membership.joining import join
from sio_cluster.node.membership.naming import name_of_host
from sio_cluster.node.membership.presence import unready_because
from sio_cluster.node.monitoring.loop_lag import watch_loop_lag
from sio_cluster.node.monitoring.metrics import exposition, exposition_of_process
from sio_cluster.node.monitoring.tracers import open_tracer
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.ids import new_node_id
from sio_cluster.streams.api.bus import Bus
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
        self.tracer = open_tracer(config, "app-node", self.id, ratio=config.trace_ratio)
        traces = None if self.tracer is None else Traces(self.tracer, self._age_of)
        # Its parts, each made of those above it.
        shared = (config, self.bus, clock, self.counters)
        self.commits = Commits(self.counters, on_lost=self._lose)
        self.downlink = DownlinkParts(self.id, *shared, commits=self.commits, traces=traces)
        self.clients = ClientParts(
            self.bus,
            clock,
            self.counters,
            application=application,
            downlink=self.downlink,
            always_connect=always_connect,
            late_notice=config.recovery_notice == "late",
            heartbeat_ms=config.heartbeat_ms,
            max_answer_bytes=config.max_inflight_bytes,
            lanes=lambda: self.keeper.served,
        )
        self.membership = MembershipParts(
            self.id,
            *shared,
            has_handlers=lambda: application.has_handlers,
            holds_lane_0=lambda: self.keeper.holds(0),
        )
        self.uplink = UplinkParts(
            self.id,
            *shared,
            application=application,
            commits=self.commits,
            downlink=self.downlink,
            clients=self.clients,
            async_handlers=async_handlers,
            max_attachments=self.max_attachments,
            announce=self._announce,
            canary_returned=self.membership.presence.proof.returned,
            redis_clock=self.membership.presence.redis_clock,
            traces=traces,
        )
        self.keeper = self._make_keeper(clock)
        self.block_watch = BlockWatch(
            block_ms=config.handler_block_ms,
            lease_ms=config.lease_ms,
            is_needed=self._is_needed,
            counters=self.counters,
        )
        # Its life.
        self._clock = clock
        # A node may be opened in the course of a request, by its first emit: the loops outlive the request's span.
        self.loops = Loops(on_failure=self._fail, context=None if self.tracer is None else self.tracer.context_of_loops)
        self.over = asyncio.Event()  # stopped, or failed
        self._opening = asyncio.Lock()
        self._start = Start()
        self._ended = False
        self._event_loop = OwnEventLoop(self._close)  # entered once it is open
        self._stopping = False

    def _make_keeper(self, clock: Clock) -> LaneKeeper:
        config, uplink = self.config, self.uplink
        return LaneKeeper(
            node_id=self.id,
            lanes=config.lanes,
            lease_ms=config.lease_ms,
            handover_ms=config.shutdown_ms,
            leases=self.bus.leases,
            reader=uplink.readers,
            registry=self.bus.registry,
            clock=clock,
            counters=self.counters,
            on_take=uplink.take_lane,
            on_lost=uplink.drop_lane,
            quarantined=lambda: uplink.suspects.quarantined,
            settled=uplink.suspects.settled,
        )

    def _lose(self, lane: Lane) -> None:
        self.keeper.lose(lane)

    def _age_of(self, entry_id: bytes) -> float | None:
        return self.membership.presence.redis_clock.age_of(entry_id)

    def _is_needed(self) -> bool:
        """Whether this node has lanes, or is there to take some and to be asked by other app-nodes."""
        return bool(self.keeper.held) or (self.membership.presence.is_registered and not self._stopping)

    # --- start

    async def open(self) -> None:
        """For emitting. Waits for Redis. Raises ConfigError where Redis refuses this node, or the cluster differs.

        Raises RuntimeError where the node was stopped meanwhile.
        """
        self._event_loop.require()
        if self._event_loop.entered:
            return
        async with self._opening:
            if self._event_loop.entered:
                return
            await join(self.bus.start, Retry("start", self.counters.redis_retries))
            await self._require_not_ended()
            self.loops.start("outbox", self.downlink.outbox.run())
            self.loops.start("records", self.downlink.writer.run())
            await self._event_loop.enter()

    async def _require_not_ended(self) -> None:
        if self._ended:
            await self.bus.stop()  # it was opened again
            raise RuntimeError(STOPPED)

    async def open_callbacks(self) -> None:
        """For callbacks: gets an epoch, which makes ack ids unique, and reads the inbox into which answers come."""
        if self.clients.callbacks.is_open:
            return
        await self.open()
        async with self._opening:
            if self.clients.callbacks.is_open:
                return
            retry = Retry("epoch", self.counters.redis_retries)
            epoch = await retry.call(self.bus.registry.next_epoch)
            await self._require_not_ended()
            self.clients.callbacks.open(epoch)
            self.loops.start("loop lag", watch_loop_lag(self.counters.durations.loop_lag, self._clock))
            self.loops.start("inbox", self.uplink.inbox.run())
            self.loops.start("unanswered", self.clients.unanswered.run())
            self.loops.start("questions", self.clients.questions.run())
            self.loops.start("peers", self.uplink.peers.run())
            self.loops.start("heartbeat", self.membership.presence.run())

    async def start(self, before: Callable[[], Awaitable[None]]) -> None:
        """Takes lanes and runs handlers, after `before` (what the application does at each start).

        Without any handler it takes no lanes until there is one.

        Returns when the lanes have been divided, and this node has those of its own that are free. Does nothing if the
        node has started; while another call starts it, waits for that one. Raises what `before` and `open` raise, and
        what a loop raised that failed meanwhile. Raises RuntimeError where `stop` was called.
        """
        await self._start.once(before, self._take_part)

    async def _take_part(self) -> None:
        await self.open()
        await self.membership.presence.take_lanes()  # the lanes are divided among registered app-nodes
        await self.open_callbacks()
        if "plan" not in self.loops:  # else an earlier call started them, and was cancelled
            self._start_loops()
        await self._planned()
        log.info("app_node_started", node=self.id, lanes=self.keeper.lanes_held, compiled=str(running_form()))

    def _start_loops(self) -> None:
        if self.config.handler_block_ms:
            self.loops.start("block watch", self.block_watch.run())  # before the first handler runs
        self.loops.start("watch", self.keeper.run_watch())
        self.loops.start("renew", self.keeper.run_renew())
        self.loops.start("read", self.uplink.consumer.run_read(self.keeper))
        self.loops.start("alone", self.uplink.alone.run(self.keeper))
        self.loops.start("suspects", self.uplink.suspects.run())
        self.loops.start("plan", self.keeper.run_plan())
        self.loops.start("reaper", self.membership.reaper.run())
        self.loops.start("presence news", self.clients.presence_news.run())
        self.loops.start("room index", self.membership.index_keeper.run())
        self.loops.start("redis use", self.membership.redis_watch.run())

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
        """Hands the lanes over when their handlers have ended, flushes, and leaves. Within SHUTDOWN_MS and 2 s, and
        with traces 2 s more for the last of them."""
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
        finally:  # also where the stop itself is cancelled
            await self._end()
        log.info("app_node_stopped", node=self.id, **self.counters.totals())

    def waits_for_caller(self) -> bool:
        """Whether `stop` would wait for who calls this: a handler of our lanes, or a task that it has started."""
        progress = open_progress()
        return progress is not None and progress.lane in self.keeper.held.values()

    async def _wind_down(self) -> None:
        await self._start.cut_off()
        if "plan" in self.loops:
            await self.membership.presence.drain()  # the others divide the lanes without this node
            await self.keeper.hand_over_all()  # handlers end, output is flushed, entries are committed, leases released
        if self._event_loop.entered:
            await self.uplink.peers.idle()
            await self.downlink.outbox.emptied()
            await self.downlink.writer.emptied()
            await self.membership.presence.leave()  # also where it only emitted: that leaves sequence numbers behind

    async def _end(self) -> None:
        await self._close()
        await self._event_loop.leave()
        self.over.set()

    async def _close(self) -> None:
        self._ended = True
        for lane in list(self.keeper.held.values()):
            self.uplink.drop_lane(lane)
        await self.loops.stop()
        await self.uplink.close()
        await self.downlink.close()
        await self.bus.stop()
        if self.tracer is not None:
            await self.tracer.close()

    async def _announce(self, quarantined: Collection[int]) -> None:
        await self.membership.presence.announce(quarantined, alone=bool(self.keeper.assigned))

    def _fail(self) -> None:
        """A loop has failed. That is a defect, so nothing goes on: other app-nodes take the lanes over."""
        if self._stopping:
            return
        for lane in list(self.keeper.held.values()):
            self.keeper.lose(lane)
        self.over.set()

    # --- what others ask

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called: `over` will be set."""
        return self._stopping

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
        why = unready_because(self.membership.presence.proof, stopping=stopping, started=started)
        if not why and self.keeper.readable and self.uplink.consumer.reading_is_stuck:
            return "the lanes cannot be read"
        return why

    def metrics(self, *, ready: bool | None = None) -> bytes:
        """All counts of this node's life, in Prometheus' text format.

        `ready`: whether its process can do what it is for, where that is something else than to serve clients.
        """
        levels = Levels(
            ready=not self.unready_because if ready is None else ready,
            facts_in_work=self.uplink.consumer.facts_in_work,
            bytes_in_work=self.uplink.consumer.inflight_bytes,
            commands_emitted=self.downlink.outbox.emitted,
            commands_waiting=self.downlink.outbox.waiting,
            lanes=self.config.lanes,
            lanes_held=len(self.keeper.lanes_held),
            parked_homes=self.membership.parked_homes.number,
            clients_absent=self.membership.parked_homes.absent,
            redis=self.membership.redis_watch.use,
        )
        return exposition(families(self.counters, levels)) + exposition_of_process()
