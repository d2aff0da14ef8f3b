"""The composition root: what an io-node is made of, and the order in which its parts start and stop."""

import asyncio
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from io_node.bus.counters import BusCounters
from io_node.bus.downlink import Downlink
from io_node.bus.parts import BusParts, redis_parts
from io_node.bus.presence import SETTLE_MS, ClusterView, Heartbeat, Pace
from io_node.bus.restore import restore
from io_node.bus.uplink import Uplink, UplinkLimits
from io_node.client_files import ClientFiles, find_client
from io_node.engineio.server import EngineServer
from io_node.front import AsgiApp, Front
from io_node.metrics import Counts, Levels, families
from io_node.routes import make_routes
from io_node.socketio.counters import ClientCounters
from io_node.socketio.gate import Gate
from io_node.socketio.hub import Hub
from io_node.socketio.session import IdleTimer, SessionLimits
from io_node.socketio.throttle import Admission
from sio_cluster.node.config import Config
from sio_cluster.node.metrics import Family
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import BusError, ClusterMismatch
from sio_cluster.protocol.ids import lane_of, new_node_id
from sio_cluster.protocol.messages import ClientDisconnected

log = structlog.get_logger()

_FLUSH_S = 5.0
"""How long a stopping node tries to bring its last facts to Redis."""

_CLOSE_SLICE = 200
"""Connections that are closed before other work has its turn."""


class IoNode:
    """One io-node without its listening socket. `run` it, `drain` it, then cancel `run`."""

    def __init__(
        self,
        config: Config,
        *,
        parts: Callable[[Config, str], BusParts] = redis_parts,
        settle_ms: int = SETTLE_MS,
    ) -> None:
        self.config = config
        self.node_id = new_node_id(config.node_name or _name_of_host(), os.urandom)
        self.client_counters = ClientCounters()
        self.bus_counters = BusCounters()
        self._draining = False
        self._bus = parts(config, self.node_id)
        keys = self._bus.link.keys

        self.hub = Hub(self.node_id, config.lanes, random_bytes=os.urandom, counters=self.client_counters)
        self._heartbeat = Heartbeat(
            self.node_id,
            keys,
            Pace(config.heartbeat_ms, config.heartbeat_ttl_ms, config.inbox_max_bytes, settle_ms),
            nodes=self._bus.nodes,
            appender=self._bus.appender,
            counters=self.bus_counters,
            count_clients=self.hub.__len__,
            on_data_lost=self._restore_records,
            on_declared_lost=self._close_all,
        )
        self.hub.on_canary = self._heartbeat.canary_returned
        self.hub.on_phantom = self._bury
        self._uplink = Uplink(
            self.node_id,
            keys,
            UplinkLimits(
                config.uplink_buffer_bytes, config.lane_max_bytes, config.inbox_max_bytes, config.lane_fair_bytes
            ),
            appender=self._bus.appender,
            records=self._bus.records,
            counters=self.bus_counters,
            is_gone=self._heartbeat.is_gone,
        )
        self._downlink = Downlink(self._bus.inbox, self.hub.execute, counters=self.bus_counters)
        self.admission = Admission(
            config.connect_rate,
            has_room=lambda: self._uplink.has_room,
            buffer_bytes=config.uplink_buffer_bytes,
            pause=self._uplink.pause,
            release=self._uplink.release,
            start_timer=lambda delay_s, callback: self.engine.wheel.schedule(time.monotonic() + delay_s, callback),
            clock=time.monotonic,
        )
        self._gate = Gate(
            _session_limits(config),
            hub=self.hub,
            facts=self._uplink,
            waiting=self.admission,
            counters=self.client_counters,
            start_idle_timer=self._start_idle_timer,
            random_bytes=os.urandom,
            is_open=self._is_open,
        )
        self.engine = EngineServer(config, self._gate, self.node_id, clock=time.monotonic)

    def front(self, app: AsgiApp | None) -> Front:
        """The ASGI application of this node, with `app` beside it."""
        path = self.config.socketio_path
        directory = self.config.client_dist_dir or find_client(Path.cwd())
        routes = make_routes(self, path, ClientFiles(directory))
        return Front(path, engine=self.engine.polling, routes=routes, app=app)

    # --- life

    async def run(self) -> None:
        """Serve until cancelled. Raises ClusterMismatch where this node does not fit the cluster.

        The order of the start: Redis, then the readers of both directions, then the registration. The gate opens once
        the node has been registered for long enough to miss no broadcast.
        """
        try:
            await self._connect()
            async with asyncio.TaskGroup() as tasks:
                for job in (self._uplink.run, self._uplink.run_fairness, self._downlink.run, self._heartbeat.run):
                    tasks.create_task(job())
                await self._heartbeat.settled.wait()
                log.info("io_node_ready", node=self.node_id)
        except ExceptionGroup as failures:
            mismatch, _ = failures.split(ClusterMismatch)
            if mismatch is None:
                raise
            raise mismatch.exceptions[0] from None
        finally:
            await self._bus.link.stop()

    async def drain(self) -> None:
        """Stop so that nothing is lost. `run` still runs, and is cancelled afterwards.

        1. unready, and new connections are refused (503)
        2. connections close in waves over DRAIN_MS, without a DISCONNECT packet, so that clients come back elsewhere;
           answers still reach those that have not had their turn
        3. what clients said last is brought to Redis
        4. the node leaves the registry; where 3 failed it stays, and counts as lost in a while: whoever buries it
           tells the application which clients are gone
        """
        self._draining = True
        log.info("io_node_draining", node=self.node_id, clients=len(self.hub))
        await self.engine.drain(self.config.drain_ms, reasons.NODE_DRAINED)
        if not await self._uplink.drain(_FLUSH_S):
            log.error("uplink_not_flushed", waiting_bytes=self._uplink.waiting_bytes)
            return
        try:
            await self._heartbeat.stop()
        except BusError as error:
            log.warning("not_unregistered", error=str(error))

    async def _connect(self) -> None:
        """Redis may start later than this node."""
        backoff = Backoff()
        waiting = False
        while True:
            try:
                await self._bus.link.start()
            except BusError as error:
                if not waiting:
                    log.warning("waiting_for_redis", error=str(error))
                waiting = True
                await asyncio.sleep(next(backoff))
            else:
                log.info("redis_connected", prefix=self.config.redis_prefix)
                return

    # --- what others ask

    @property
    def ready(self) -> asyncio.Event:
        """Set once the node lets clients in."""
        return self._heartbeat.settled

    @property
    def view(self) -> ClusterView:
        return self._heartbeat.view

    def metrics(self) -> list[Family]:
        """The ledger and what operators need, as of now."""
        return list(
            families(
                Counts(self.client_counters, self.bus_counters, self.engine.counters),
                Levels(
                    ready=not self.unready_because,
                    clients=len(self.hub),
                    connections=len(self.engine.connections),
                    connects_waiting=len(self.admission),
                    facts_waiting=self._uplink.waiting_facts,
                    deliveries_waiting=self.engine.waiting + self.hub.held,
                    uplink_waiting_bytes=self._uplink.waiting_bytes,
                    connections_paused=self._uplink.paused,
                ),
            )
        )

    @property
    def unready_because(self) -> str:
        if self._draining:
            return "the node is stopping"
        if not self._heartbeat.settled.is_set():
            return "the node is starting"
        return "" if self._heartbeat.ready else "Redis does not pass messages in both directions"

    def _is_open(self) -> bool:
        """Connections are let in while Redis stalls, too: what they say waits, within bounds."""
        return self._heartbeat.settled.is_set() and not self._draining

    # --- wiring

    def _start_idle_timer(self, callback: Callable[[], None]) -> IdleTimer:
        return self.engine.wheel.schedule(time.monotonic() + self.config.connect_timeout_ms / 1000, callback)

    def _bury(self, sid: str) -> None:
        """The application lets a client in that has left: say so again. It ignores that where it knows."""
        lane = lane_of(sid, self.config.lanes)
        self._uplink.put(lane, ClientDisconnected(sid, reasons.TRANSPORT_CLOSE), None)

    async def _restore_records(self) -> None:
        await restore(self.hub, self._bus.records)

    async def _close_all(self) -> None:
        """The application was told that these clients are gone: they come back as new ones."""
        for number, connection in enumerate(list(self.engine.connections.values()), 1):
            connection.close(reasons.NODE_LOST)
            if number % _CLOSE_SLICE == 0:
                await asyncio.sleep(0)


def _session_limits(config: Config) -> SessionLimits:
    return SessionLimits(
        max_namespaces=config.max_namespaces,
        max_attachments=config.max_attachments,
        max_payload_bytes=config.max_payload_bytes,
        send_buffer_bytes=config.send_buffer_bytes,
    )


def _name_of_host() -> str:
    return re.sub("[^a-z0-9]", "", socket.gethostname().lower())[:32] or "io"
