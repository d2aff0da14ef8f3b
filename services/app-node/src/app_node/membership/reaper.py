"""Disconnects the clients of io-nodes that died. Each that was let in gets its `disconnect`, with reason `node lost`.

Done by the app-node that holds lane 0. The facts go through the lanes, as if the io-node had written them, so that they
come after whatever it wrote. They go in small chunks, so that a storm of them does not starve live events. When another
app-node takes over in the middle and begins again, no harm is done: a client is disconnected once, and then forgotten.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import structlog

from app_node.clock import Clock
from app_node.counters import Counters
from sio_cluster.node.retry import Backoff, Retry
from sio_cluster.protocol import reasons
from sio_cluster.protocol.codec import encode_uplink
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientDisconnected, Fact
from sio_cluster.streams.api.appends import Append, Appender, AppendResult
from sio_cluster.streams.api.records import ClientRecords
from sio_cluster.streams.api.registry import Registry

log = structlog.get_logger()

GRACE_BEATS = 3
"""For how many heartbeats a node must look lost. After Redis was away, all nodes do until their next heartbeat."""

APP_NODE_KEPT_S = 600.0
"""How long the sequence numbers of a lost app-node are kept: it may have been paused, and still retry an append."""

CHUNK = 200
"""How many clients are told of at a time."""

PAUSE_S = 0.05
"""Between two chunks. So at most 4,000 clients a second are told of."""


class Reaper:
    """Buries lost nodes while `is_in_charge()`."""

    def __init__(
        self,
        *,
        node_id: str,
        lanes: int,
        lane_key: Callable[[int], str],
        lane_max_bytes: int,
        heartbeat_ms: int,
        clock: Clock,
        registry: Registry,
        records: ClientRecords,
        appender: Appender,
        is_in_charge: Callable[[], bool],
        counters: Counters,
    ) -> None:
        self._node_id = node_id
        self._lanes = lanes
        self._lane_key = lane_key
        self._lane_max_bytes = lane_max_bytes
        self._heartbeat_s = heartbeat_ms / 1000
        self._clock = clock
        self._registry = registry
        self._records = records
        self._appender = appender
        self._is_in_charge = is_in_charge
        self._counters = counters
        self._retry = Retry("reaper", counters.redis_retries)
        self._append_retry = Retry("reaper_append", counters.redis_retries)
        self._lost_since: dict[str, float] = {}
        self._seq = 0  # one number for all lanes: it rises in each

    async def run(self) -> None:
        """A loop for as long as the node lives: looks once a heartbeat. Retried while Redis is away."""
        await self._retry.forever(self._turn, pause_s=self._heartbeat_s)

    async def _turn(self) -> None:
        try:
            if self._is_in_charge():
                await self.look()
            else:
                self._lost_since.clear()
        except BusError:
            self._lost_since.clear()  # nobody could send a heartbeat either
            raise

    async def look(self) -> None:
        """Buries every node that has looked lost for long enough. Raises BusError."""
        now = self._clock()
        io_nodes, app_nodes = await self._registry.lost_io_nodes(), await self._registry.lost_app_nodes()
        self._lost_since = {node: self._lost_since.get(node, now) for node in (*io_nodes, *app_nodes)}
        for node in io_nodes:
            if now - self._lost_since[node] >= GRACE_BEATS * self._heartbeat_s:
                await self._bury(node)
        for node in app_nodes:
            if now - self._lost_since[node] >= APP_NODE_KEPT_S:
                log.info("app_node_forgotten", lost_node=node)
                await self._registry.unregister_app_node(node)

    async def _bury(self, node: str) -> None:
        """Tells the application that all clients of this io-node are gone, and forgets it.

        An io-node that comes back before it was retired is left alone. One that comes back later learns at its next
        heartbeat that it must close its connections. So from then on all of its clients are told of, whatever happens.
        """
        if not self._is_in_charge() or not await self._is_lost(node):  # the burial before this one took some time
            return
        await self._registry.retire_io_node(node)
        if not await self._is_lost(node):  # it registered anew just before it was retired, and was not told
            return
        sids = await self._records.clients_of(node)
        log.warning("io_node_lost", lost_node=node, clients=len(sids))
        for start in range(0, len(sids), CHUNK):
            if start:
                await asyncio.sleep(PAUSE_S)
            if not self._is_in_charge():
                return
            await self._write(sids[start : start + CHUNK])
        if not self._is_in_charge():
            return
        if await self._is_lost(node):  # it may have come back meanwhile
            await self._registry.unregister_io_node(node)
            await self._records.forget_node(node)
        self._counters.io_nodes_lost += 1

    async def _is_lost(self, node: str) -> bool:
        lost = node in await self._registry.lost_io_nodes()
        if not lost:
            log.info("io_node_back", lost_node=node)
        return lost

    async def _write(self, sids: list[str]) -> None:
        """Writes one disconnect for each client. Tries until every lane has taken its part."""
        waiting, facts_in = self._encode(sids)
        backoff = Backoff()  # for lanes that are full
        while waiting:
            results = await self._append_retry.call(partial(self._appender.append, waiting))
            full = [append for append, result in zip(waiting, results, strict=True) if result is AppendResult.FULL]
            written = sum(facts_in[append.seq] for append in waiting) - sum(facts_in[append.seq] for append in full)
            self._counters.reaper_facts_written += written
            waiting = full
            if waiting:
                await asyncio.sleep(next(backoff))

    def _encode(self, sids: list[str]) -> tuple[list[Append], dict[int, int]]:
        """One entry for each lane, and how many facts each entry has, by its sequence number."""
        facts: dict[int, list[Fact]] = defaultdict(list)
        for sid in sids:
            facts[lane_of(sid, self._lanes)].append(ClientDisconnected(sid, reasons.NODE_LOST))
        appends, facts_in = [], {}
        for lane, of_lane in facts.items():
            self._seq += 1
            entry = encode_uplink(self._node_id, self._seq, of_lane)
            appends.append(Append(self._lane_key(lane), self._node_id, self._seq, entry, self._lane_max_bytes))
            facts_in[self._seq] = len(of_lane)
        return appends, facts_in
