"""The composition root: what an io-node is made of, and the order in which its parts start and stop."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import structlog

from io_node.admin_ui import AdminUi
from io_node.backpressure import Backpressure
from io_node.bus.counters import BusCounters
from io_node.bus.fairness import Fairness
from io_node.bus.registration import SETTLE_MS, ClusterView, IoNodeRegistration
from io_node.bus.uplink import Uplink, UplinkLimits
from io_node.client_files import ClientFiles, find_client
from io_node.durations import Durations
from io_node.engineio.server import EngineServer
from io_node.front import AsgiApp, Front
from io_node.metrics import Counts, Levels, families
from io_node.recovery.parts import Recovery
from io_node.routes import make_routes, own_paths
from io_node.socketio.client import SessionLimits
from io_node.socketio.counters import ClientCounters
from io_node.socketio.gate import Gate
from io_node.socketio.newcomers import Newcomers
from io_node.socketio.throttle import ConnectThrottle
from io_node.socketio.timer import Timer
from io_node.tracing import Traces
from sio_cluster.node.loops import Loops
from sio_cluster.node.membership.inbox import InboxLoop
from sio_cluster.node.membership.joining import join
from sio_cluster.node.membership.naming import name_of_host
from sio_cluster.node.membership.presence import BusProof, Pace, Presence, unready_because
from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.node.monitoring.health import Health
from sio_cluster.node.monitoring.loop_lag import watch_loop_lag
from sio_cluster.node.monitoring.metrics import AnyFamily, exposition, exposition_of_process
from sio_cluster.node.monitoring.tracers import open_tracer
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.codec import encode_downlink
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.figures import Figures
from sio_cluster.protocol.ids import new_node_id
from sio_cluster.streams.api.bus import Bus
from sio_cluster.streams.redis import RedisBus

log = structlog.get_logger()

_MOST_NAMESPACES = 100
"""Of so many namespaces a watched node says how many clients they have: those with most."""
_FLUSH_S = 5.0
"""How long a stopping node tries to bring its last facts to Redis."""


class IoNode:
    """One io-node without its listening socket. `run` it, `drain` it, then cancel `run`."""

    def __init__(self, config: Config, *, bus: Callable[[Config], Bus] = RedisBus, settle_ms: int = SETTLE_MS) -> None:
        """`bus` makes the bus that the node runs on."""
        self.config = config
        self.node_id = new_node_id(config.node_name or name_of_host("io"), os.urandom)
        self.client_counters = ClientCounters()
        self.bus_counters = BusCounters()
        self.durations = Durations()
        self.backpressure = Backpressure()
        # An io-node draws lots before it begins a trace, so that events that are not traced cost nothing.
        self._tracer = open_tracer(config, "io-node", self.node_id, ratio=1.0)
        self._traces = None if self._tracer is None else Traces(self._tracer, config.trace_ratio, random.random)
        self._draining = False
        self._loops = Loops()
        self._bus = bus(config)

        self._proof = self._make_proof()
        self._registration = self._make_registration(settle_ms)
        redis_clock = RedisClock(time.monotonic)
        self._presence = Presence(
            self.node_id,
            Pace(config.heartbeat_ms, config.heartbeat_ttl_ms),
            registry=self._bus.registry,
            registration=self._registration,
            proof=self._proof,
            redis_clock=redis_clock,
            retry=self._retry("heartbeat", cap_ms=config.heartbeat_ms),
        )
        self._fairness = self._make_fairness()
        self._uplink = self._make_uplink()
        reader = self._bus.inbox_reader(self.node_id, keeps_log=config.recovery_window_ms > 0)
        self._recovery = Recovery(
            self.node_id,
            config,
            self._bus,
            reader=reader,
            facts=self._uplink,
            on_canary=self._proof.returned,
            level=lambda: self._registration.level,
            client_counters=self.client_counters,
            counters=self.bus_counters,
            durations=self.durations,
            redis_clock=redis_clock,
            traces=self._traces,
        )
        self.hub = self._recovery.hub
        self._downlink = InboxLoop(
            reader,
            self._recovery.downlink.take,
            self._retry("downlink"),
        )
        self._throttle = self._make_throttle()
        self.gate = self._make_gate()
        self.engine = EngineServer(config, self.gate, self.node_id, clock=time.monotonic)

    def front(self, app: AsgiApp | None) -> Front:
        """The ASGI application of this node, with `app` beside it. Raises ConfigError for a wrong ADMIN_UI_DIR."""
        path = self.config.socketio_path
        files = ClientFiles(self.config.client_dist_dir or find_client(Path.cwd()))
        admin_ui = AdminUi(self.config.admin_ui_dir)
        health = Health(
            self.node_id,
            dead_because=lambda: self._loops.dead_because,
            unready_because=lambda: self.unready_because,
            metrics=lambda: exposition(self.metrics()) + exposition_of_process(),
        )
        routes = make_routes(health, lambda: self.view, path, files, admin_ui)
        return Front(
            own_paths=own_paths(path, admin_ui),
            routes=routes,
            handles=self.engine.handles,
            engine=self.engine.polling,
            app=app,
        )

    # --- life

    async def run(self) -> None:
        """Serve until cancelled. Raises ConfigError where Redis refuses this node, or it does not fit the cluster.

        The order of the start: Redis, then the loops of both directions, then the heartbeat, which registers the node.
        The gate opens once the node has been registered for long enough to miss no broadcast.
        """
        try:
            await join(self._bus.start, self._retry("start"))
            log.info("redis_connected", prefix=self.config.redis_prefix)
            self._loops.start("uplink", self._uplink.run())
            self._loops.start("fairness", self._fairness.run())
            self._loops.start("downlink", self._downlink.run())
            self._recovery.start(self._loops)
            self._loops.start("heartbeat", self._presence.run())
            self._loops.start("loop lag", watch_loop_lag(self.durations.loop_lag, time.monotonic))
            await self._loops.raise_failure()
        finally:
            await self._recovery.claims.stop()
            await self._loops.stop()
            await self._bus.stop()
            if self._tracer is not None:
                await self._tracer.close()

    async def drain(self) -> None:
        """Stop so that nothing is lost. `run` still runs, and is cancelled afterwards.

        1. The node is unready, and refuses new connections (503).
        2. Connections close in waves, in the first half of DRAIN_MS, without a DISCONNECT packet: clients come back
           elsewhere.
           Those that have not had their turn still get answers.
        3. What clients said last is brought to Redis.
        4. The node leaves the registry, and its inbox stays while clients of it may come back, elsewhere. Where step 3
           failed the node stays in it and counts as lost after a while: whoever buries it tells the application which
           clients are gone.
        """
        self._draining = True
        log.info("io_node_draining", node=self.node_id, clients=self._recovery.homes.clients())
        await self.engine.drain(self.config.drain_ms, reasons.NODE_DRAINED)
        await self._recovery.claims.idle(_FLUSH_S)
        if not await self._uplink.emptied(_FLUSH_S):
            log.error("uplink_not_flushed", waiting_bytes=self._uplink.waiting_bytes)
            return
        try:
            await self._presence.leave()
        except BusError as error:
            log.warning("not_unregistered", error=str(error))

    # --- what others ask

    @property
    def ready(self) -> asyncio.Event:
        """Set once the node lets clients in."""
        return self._registration.settled

    @property
    def view(self) -> ClusterView:
        """The cluster as of the last heartbeat."""
        return self._registration.view

    @property
    def unready_because(self) -> str:
        """Why a balancer should send no clients here. Empty where it should."""
        return unready_because(self._proof, stopping=self._draining, started=self.ready.is_set())

    def metrics(self) -> list[AnyFamily]:
        """All counters and levels, as of now."""
        own, adopted = self._recovery.homes.logs_in_memory
        return list(
            families(
                Counts(
                    self.client_counters,
                    self.bus_counters,
                    self.engine.counters,
                    self.durations,
                    self.backpressure.pauses,
                ),
                Levels(
                    ready=not self.unready_because,
                    clients=self._recovery.homes.clients(),
                    connections=len(self.engine.connections),
                    connects_waiting=len(self._throttle),
                    facts_waiting=self._uplink.waiting_facts,
                    deliveries_waiting=self.engine.connections.waiting
                    + sum(hub.held for hub in self._recovery.homes.hubs()),
                    uplink_waiting_bytes=self._uplink.waiting_bytes,
                    downlink_waiting_bytes=self.engine.connections.buffers.waiting_bytes,
                    connections_paused=len(self.backpressure),
                    homes_adopted=self._recovery.homes.adopted,
                    own_log_bytes=own.log_bytes,
                    own_log_entries=own.log_entries,
                    adopted_log_bytes=adopted.log_bytes,
                    adopted_log_entries=adopted.log_entries,
                    recovery_window_s=self._recovery.retention.window_s if self._recovery.is_on else 0.0,
                ),
            )
        )

    # --- making the parts

    def _retry(self, operation: str, *, cap_ms: float = 2000) -> Retry:
        return Retry(operation, self.bus_counters.redis_retries, cap_ms=cap_ms)

    def _make_proof(self) -> BusProof:
        return BusProof(
            self.node_id,
            self._bus.keys.inbox(self.node_id),
            self.config.inbox_max_bytes,
            self.config.heartbeat_ms,
            appender=self._bus.appender,
            encode=lambda seq, canary: encode_downlink(self.node_id, seq, [canary]),
        )

    def _make_registration(self, settle_ms: int) -> IoNodeRegistration:
        return IoNodeRegistration(
            self.node_id,
            self._bus.registry,
            settle_ms=settle_ms,
            view_counts_s=self._proof.patience_s,
            counters=self.bus_counters,
            count_clients=self._count_clients,
            figures=self._figures,
            on_data_lost=self._restore,
            on_declared_lost=self._let_clients_go,
            leave=self._leave_registry,
        )

    def _make_fairness(self) -> Fairness:
        return Fairness(
            self._bus.appender,
            self.config.lane_fair_bytes,
            backpressure=self.backpressure,
            retry=self._retry("fairness"),
        )

    def _make_uplink(self) -> Uplink:
        config = self.config
        return Uplink(
            self.node_id,
            self._bus.keys,
            UplinkLimits(config.uplink_buffer_bytes, config.lane_max_bytes, config.inbox_max_bytes),
            appender=self._bus.appender,
            records=self._bus.records,
            counters=self.bus_counters,
            backpressure=self.backpressure,
            fairness=self._fairness,
            retry=self._retry("uplink"),
            is_gone=self._registration.is_gone,
            is_alive=self._bus.registry.is_alive,
            waits=self.durations.uplink_wait,
        )

    def _make_throttle(self) -> ConnectThrottle:
        return ConnectThrottle(
            self.config.connect_rate,
            has_room=lambda: self._uplink.has_room,
            buffer_bytes=self.config.uplink_buffer_bytes,
            backpressure=self.backpressure,
            start_timer=self._start_timer,
            clock=time.monotonic,
        )

    def _make_gate(self) -> Gate:
        config = self.config
        return Gate(
            SessionLimits(
                max_namespaces=config.max_namespaces,
                max_attachments=config.max_attachments,
                max_payload_bytes=config.max_payload_bytes,
                connect_timeout_s=config.connect_timeout_ms / 1000,
                recovery_window_ms=config.recovery_window_ms,
            ),
            newcomers=Newcomers(
                self.node_id,
                config.lanes,
                hub=self.hub,
                random_bytes=os.urandom,
                recovers=self._recovery.is_on,
                clients=config.recovery_clients,
                is_offered=lambda: self._recovery.is_offered(self._registration.level),
            ),
            facts=self._uplink,
            throttle=self._throttle,
            claims=self._recovery.claims,
            counters=self.client_counters,
            start_timer=self._start_timer,
            random_bytes=os.urandom,
            is_open=self._is_open,
            traces=self._traces,
        )

    # --- what the parts ask of each other

    def _is_open(self) -> bool:
        """Connections are let in while Redis stalls, too: what they say waits, within bounds."""
        return self.ready.is_set() and not self._draining

    def _start_timer(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return self.engine.wheel.schedule(time.monotonic() + delay_s, callback)

    def _count_clients(self) -> int:
        return self._recovery.homes.clients()

    def _figures(self) -> Figures:
        counters, engine = self.client_counters, self.engine.counters
        clients = (client.namespace for hub in self._recovery.homes.hubs() for client in hub.clients())
        return Figures(
            connections=len(self.engine.connections),
            polling=sum(connection.transport == "polling" for connection in self.engine.connections),
            namespaces=dict(Counter(clients).most_common(_MOST_NAMESPACES)),
            opened=engine.opened,
            closed=dict(engine.closed),
            packets_in=counters.events + counters.acks_received,
            packets_out=engine.written,
            bytes_in=engine.websocket_received_bytes + engine.polling_received_bytes,
            bytes_out=engine.websocket_sent_bytes + engine.polling_sent_bytes,
        )

    async def _leave_registry(self) -> None:
        await self._recovery.leave()

    async def _restore(self) -> None:
        await self._recovery.restore()

    async def _let_clients_go(self) -> None:
        """The application was told that these clients are gone. They come back as new ones."""
        await self.engine.connections.close_all(reasons.NODE_LOST)
