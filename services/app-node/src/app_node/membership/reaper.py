"""Buries nodes that died. Each client of an io-node that was let in gets its `disconnect`, with reason `node lost`.

Done by the app-node that holds lane 0. When another app-node takes over in the middle and begins again, no harm is
done: a client is disconnected once, and then forgotten.
"""

from collections.abc import Callable

import structlog

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.membership.farewells import Farewells
from app_node.membership.parked_homes import ParkedHomes
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.streams.api.records import ClientRecords
from sio_cluster.streams.api.registry import Registry

log = structlog.get_logger()

GRACE_BEATS = 3
"""For how many heartbeats a node must look lost. After Redis was away, all nodes do until their next heartbeat."""

APP_NODE_KEPT_S = 600.0
"""How long the sequence numbers of a lost app-node are kept: it may have been paused, and still retry an append."""


class Reaper:
    """Buries lost nodes while `is_in_charge()`."""

    def __init__(
        self,
        *,
        heartbeat_ms: int,
        clock: Clock,
        registry: Registry,
        records: ClientRecords,
        farewells: Farewells,
        parked_homes: ParkedHomes,
        is_in_charge: Callable[[], bool],
        counters: Counters,
    ) -> None:
        self._heartbeat_s = heartbeat_ms / 1000
        self._clock = clock
        self._registry = registry
        self._records = records
        self._farewells = farewells
        self._parked_homes = parked_homes
        self._is_in_charge = is_in_charge
        self._counters = counters
        self._retry = Retry("reaper", counters.redis_retries)
        self._lost_since: dict[str, float] = {}

    async def run(self) -> None:
        """A loop for as long as the node lives: looks once a heartbeat. Retried while Redis is away."""
        await self._retry.forever(self._turn, pause_s=self._heartbeat_s)

    async def _turn(self) -> None:
        try:
            if self._is_in_charge():
                await self.look()
                await self._parked_homes.look()
            else:
                self._lost_since.clear()
                self._parked_homes.rest()
        except BusError:
            self._lost_since.clear()  # nobody could send a heartbeat either
            raise

    async def look(self) -> None:
        """Buries every node that has looked lost for long enough. Raises BusError."""
        now = self._clock()
        nodes = await self._registry.look()
        lost = (*nodes.lost_io_nodes, *nodes.lost_app_nodes)
        self._lost_since = {node: self._lost_since.get(node, now) for node in lost}
        for node in nodes.lost_io_nodes:
            if now - self._lost_since[node] >= GRACE_BEATS * self._heartbeat_s:
                await self._bury(node)
        for node in nodes.lost_app_nodes:
            if now - self._lost_since[node] >= APP_NODE_KEPT_S and self._is_in_charge():
                log.info("app_node_forgotten", lost_node=node)
                await self._registry.unregister_app_node(node)

    async def _bury(self, node: str) -> None:
        """Tells the application that all clients of this io-node are gone, and forgets it, or parks its home.

        An io-node that comes back before it was retired or parked is left alone. One that comes back later learns at
        its next heartbeat that it must close its connections. So from then on all of its clients are told of, whatever
        happens.
        """
        if not self._is_in_charge() or not await self._is_lost(node):  # the burial before this one took some time
            return
        if await self._parked_homes.park(node):  # which tells of its clients
            log.warning("io_node_lost", lost_node=node)
            self._counters.io_nodes_lost += 1
            return
        await self._registry.retire_io_node(node)
        if not await self._is_lost(node):  # it registered anew just before it was retired, and was not told
            return
        clients = await self._records.clients_of(node)
        log.warning("io_node_lost", lost_node=node, clients=len(clients))
        if not await self._farewells.tell_of(clients, node):
            return
        if await self._is_lost(node):  # it may have come back meanwhile
            await self._registry.unregister_io_node(node)
        self._counters.io_nodes_lost += 1

    async def _is_lost(self, node: str) -> bool:
        lost = node in await self._registry.lost_io_nodes()
        if not lost:
            log.info("io_node_back", lost_node=node)
        return lost
