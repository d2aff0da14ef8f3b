"""Clients of io-nodes that died: each that was let in gets its `disconnect`, with the reason `node lost`.

Done by whoever holds lane 0. The facts go through the lanes as from an io-node, so that they keep their order with what
the node still sent; in small chunks, so that a storm of them does not starve live events. A repetition after a change
of holder is harmless: a client is disconnected once, and forgotten.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from app_node.counters import Counters
from app_node.lanes.lane import Clock
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol import reasons
from sio_cluster.protocol.codec import encode_uplink
from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientDisconnected, Fact
from sio_cluster.streams.redis.appender import Append, AppendResult

log = structlog.get_logger()

GRACE_BEATS = 3
"""For how many heartbeats a node must be seen lost: after Redis was away, all nodes look lost until they beat again."""

APP_NODE_KEPT_S = 600.0
"""How long a lost app-node's sequence numbers are kept: it may have been paused, and come back to retry an append."""

CHUNK = 200  # clients
PAUSE_S = 0.05  # between chunks: at most 4,000 clients a second


class Nodes(Protocol):
    async def lost_io_nodes(self) -> list[str]: ...

    async def retire_io_node(self, node_id: str) -> None: ...

    async def unregister_io_node(self, node_id: str) -> None: ...

    async def lost_app_nodes(self) -> list[str]: ...

    async def unregister_app_node(self, node_id: str) -> None: ...


class Records(Protocol):
    async def clients_of(self, node_id: str) -> list[str]: ...

    async def forget_node(self, node_id: str) -> None: ...


class Appends(Protocol):
    async def append(self, appends: Sequence[Append]) -> list[AppendResult]: ...


class Reaper:
    """Buries lost nodes while `is_in_charge`."""

    def __init__(
        self,
        *,
        sender: str,
        lanes: int,
        lane_key: Callable[[int], str],
        lane_max_bytes: int,
        heartbeat_ms: int,
        clock: Clock,
        registry: Nodes,
        records: Records,
        appender: Appends,
        is_in_charge: Callable[[], bool],
        counters: Counters,
    ) -> None:
        self._sender = sender
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
        self._lost_since: dict[str, float] = {}
        self._seq = 0  # one for all lanes: it rises in each

    async def run(self) -> None:
        """Looks each heartbeat; waits out Redis' absence."""
        backoff = Backoff()
        while True:
            try:
                if self._is_in_charge():
                    await self.look()
                else:
                    self._lost_since.clear()
            except (BusUnavailable, BusRefused) as error:
                self._lost_since.clear()
                log.warning("reaper_retry", error=str(error))
                await asyncio.sleep(next(backoff))
            else:
                backoff.reset()
                await asyncio.sleep(self._heartbeat_s)

    async def look(self) -> None:
        """Buries every node that has been lost for long enough."""
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
        """Lets off a node that is back before anything was told of its clients. One that is retired learns at its next
        beat that they must go; then the rest is told of here, too, whether it is back or not.
        """
        if not self._is_in_charge() or not await self._is_lost(node):  # the burial before this one took its time
            return
        await self._registry.retire_io_node(node)
        if not await self._is_lost(node):  # its beat may have registered it anew, without a look at what we did
            return
        sids = await self._records.clients_of(node)
        log.warning("io_node_lost", lost_node=node, clients=len(sids))
        for start in range(0, len(sids), CHUNK):
            if start:
                await asyncio.sleep(PAUSE_S)
            if not self._is_in_charge():
                return
            await self._append(sids[start : start + CHUNK])
        if not self._is_in_charge():
            return
        if await self._is_lost(node):  # it may have come back meanwhile
            await self._registry.unregister_io_node(node)
            await self._records.forget_node(node)
        self._counters.add("io_nodes_lost")

    async def _is_lost(self, node: str) -> bool:
        lost = node in await self._registry.lost_io_nodes()
        if not lost:
            log.info("io_node_back", lost_node=node)
        return lost

    async def _append(self, sids: list[str]) -> None:
        """Appends until every lane has taken its part."""
        facts: dict[int, list[Fact]] = defaultdict(list)
        for sid in sids:
            facts[lane_of(sid, self._lanes)].append(ClientDisconnected(sid, reasons.NODE_LOST))
        waiting = []
        number = {}
        for lane, of_lane in facts.items():
            self._seq += 1
            entry = encode_uplink(self._sender, self._seq, of_lane)
            waiting.append(Append(self._lane_key(lane), self._sender, self._seq, entry, self._lane_max_bytes))
            number[self._seq] = len(of_lane)
        backoff = Backoff()
        while waiting:
            try:
                results = await self._appender.append(waiting)
            except (BusUnavailable, BusRefused) as error:
                log.warning("reaper_append_retry", error=str(error))
            else:
                full = [a for a, result in zip(waiting, results, strict=True) if result is AppendResult.FULL]
                written = sum(number[append.seq] for append in waiting) - sum(number[append.seq] for append in full)
                self._counters.add("reaper_facts_written", written)
                waiting = full
            if waiting:
                await asyncio.sleep(next(backoff))
