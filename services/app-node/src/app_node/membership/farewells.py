"""Disconnects that no io-node writes: of clients whose io-node died, with the reason `node lost`, and of clients that
have not come back in time and of which the application has not heard.

The facts go through the lanes, as if the io-node had written them, so that they come after whatever it wrote. They go
in small chunks, so that a storm of them does not starve live events. When another app-node begins again in the middle,
no harm is done: a client is disconnected once.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from app_node.counters import Counters
from sio_cluster.node.retry import Backoff, Retry
from sio_cluster.protocol import reasons
from sio_cluster.protocol.codec import encode_uplink
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.ids import lane_of, node_of
from sio_cluster.protocol.messages import ClientDisconnected, Fact
from sio_cluster.streams.api.appends import Append, Appender, AppendResult
from sio_cluster.streams.api.records import ClientRecord, ClientRecords

_T = TypeVar("_T")

CHUNK = 200
"""How many clients are told of at a time."""

PAUSE_S = 0.05
"""Between two chunks. So at most 4,000 clients a second are told of."""


class Farewells:
    """Tells the application that clients are gone, while `is_in_charge()`."""

    def __init__(
        self,
        *,
        node_id: str,
        lanes: int,
        lane_key: Callable[[int], str],
        lane_max_bytes: int,
        records: ClientRecords,
        appender: Appender,
        is_in_charge: Callable[[], bool],
        counters: Counters,
    ) -> None:
        self._node_id = node_id
        self._lanes = lanes
        self._lane_key = lane_key
        self._lane_max_bytes = lane_max_bytes
        self._records = records
        self._appender = appender
        self._is_in_charge = is_in_charge
        self._counters = counters
        self._retry = Retry("reaper_append", counters.redis_retries)
        self._seq = 0  # one number for all lanes: it rises in each

    async def tell_of(self, clients: Sequence[tuple[str, int]], node: str, keep_ms: int = 0) -> bool:
        """Writes one disconnect for each of these clients of the io-node, each given with its generation.

        `keep_ms`: for how long those may claim their session back that can. Returns False where it has stopped in the
        middle, since this app-node is not in charge any more.
        """
        async for chunk in self._chunks(clients):
            if keep_ms:
                await self._write(await self._recoverable(chunk, node, keep_ms))
            else:
                await self._write([_lost(sid, generation) for sid, generation in chunk])
        return self._is_in_charge()

    async def tell_late(self, overdue: Sequence[tuple[str, int, str]]) -> bool:
        """Writes one disconnect for each of these clients: sid, generation, reason. They cannot come back any more.

        Returns False as `tell_of`.
        """
        async for chunk in self._chunks(overdue):
            await self._write([ClientDisconnected(sid, reason, generation) for sid, generation, reason in chunk])
        return self._is_in_charge()

    async def _chunks(self, clients: Sequence[_T]) -> AsyncIterator[Sequence[_T]]:
        """Ends early where this app-node is not in charge any more."""
        for start in range(0, len(clients), CHUNK):
            if start:
                await asyncio.sleep(PAUSE_S)
            if not self._is_in_charge():
                return
            yield clients[start : start + CHUNK]

    async def _recoverable(self, clients: Sequence[tuple[str, int]], node: str, keep_ms: int) -> list[Fact]:
        """Nothing is said of those that have come back to another io-node meanwhile."""
        records = await asyncio.gather(*[self._records.load(sid) for sid, _ in clients])
        return [
            _lost(sid, generation, keep_ms if record is not None and record.connected.pid_hash else 0)
            for (sid, generation), record in zip(clients, records, strict=True)
            if record is None or _is_held(record, node, generation)
        ]

    async def _write(self, disconnects: Sequence[Fact]) -> None:
        """Tries until every lane has taken its part, or this app-node is not in charge any more.

        A lane that is full is tried again with backoff, and so is a Redis that is away.
        """
        waiting, facts_in = self._encode(disconnects)
        backoff = Backoff()  # for lanes that are full
        while waiting and self._is_in_charge():
            try:
                results = await self._appender.append(waiting)
            except BusError as error:
                await asyncio.sleep(self._retry.failed(error))
                continue
            self._retry.succeeded()
            full = [append for append, result in zip(waiting, results, strict=True) if result is AppendResult.FULL]
            written = sum(facts_in[append.seq] for append in waiting) - sum(facts_in[append.seq] for append in full)
            self._counters.reaper_facts_written += written
            waiting = full
            if waiting:
                await asyncio.sleep(next(backoff))

    def _encode(self, disconnects: Sequence[Fact]) -> tuple[list[Append], dict[int, int]]:
        """One entry for each lane, and how many facts each entry has, by its sequence number."""
        facts: dict[int, list[Fact]] = defaultdict(list)
        for fact in disconnects:
            facts[lane_of(fact.sid, self._lanes)].append(fact)
        appends, facts_in = [], {}
        for lane, of_lane in facts.items():
            self._seq += 1
            entry = encode_uplink(self._node_id, self._seq, of_lane)
            appends.append(Append(self._lane_key(lane), self._node_id, self._seq, entry, self._lane_max_bytes))
            facts_in[self._seq] = len(of_lane)
        return appends, facts_in


def _lost(sid: str, generation: int, keep_ms: int = 0) -> ClientDisconnected:
    return ClientDisconnected(sid, reasons.NODE_LOST, generation, keep_ms)


def _is_held(record: ClientRecord, node: str, generation: int) -> bool:
    """Whether its record still says that this io-node has this connection of the client."""
    connected = record.connected
    holder = connected.holder or node_of(connected.sid)
    return not record.away and holder == node and connected.generation == generation
