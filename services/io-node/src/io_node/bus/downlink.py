"""Commands of app-nodes, as they come out of this node's inbox, handed to the hub in order."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import structlog

from io_node.bus.counters import BusCounters
from io_node.turns import TURN_S
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.errors import MalformedBatch
from sio_cluster.protocol.messages import Command

log = structlog.get_logger()

_MOST_NODES = 1_000
"""How many app-nodes' last sequence numbers are remembered. Each start of an app-node is a new node id."""

Execute: TypeAlias = Callable[[Iterator[Command], Callable[[], bool]], bool]
"""`Hub.execute`: carries out commands until there are no more (True) or until the function says stop (False)."""


class Downlink:
    """Carries out inbox entries. `take` is what `node.membership.inbox.InboxLoop` calls.

    An entry that cannot be decoded is logged, counted and passed over.
    """

    def __init__(self, execute: Execute, *, counters: BusCounters, clock: Callable[[], float] = time.monotonic) -> None:
        self._execute = execute
        self._counters = counters
        self._clock = clock
        self._last_seq: dict[str, int] = {}
        """The last sequence number of each app-node. Who wrote last stands last."""
        self._turn_ends = 0.0

    async def take(self, entries: list[bytes]) -> None:
        """Carry out entries in order."""
        counters = self._counters
        self._turn_ends = self._clock() + TURN_S
        for entry in entries:
            try:
                batch = decode_downlink(entry)
            except MalformedBatch as error:
                counters.malformed_batches += 1
                log.error("malformed_batch", error=str(error), size=len(entry), entry=entry[:200].hex())
                continue
            if self._is_repeated(batch.node, batch.seq):
                continue
            counters.batches_read += 1
            counters.commands_read += len(batch.commands)
            commands = iter(batch.commands)
            while not self._execute(commands, self._turn_is_over):
                await asyncio.sleep(0)
                self._turn_ends = self._clock() + TURN_S

    def _is_repeated(self, node_id: str, seq: int) -> bool:
        """Redis itself drops a repeated append, unless it lost its data after this node had read the first one."""
        last = self._last_seq.pop(node_id, 0)
        self._last_seq[node_id] = max(seq, last)
        if len(self._last_seq) > _MOST_NODES:
            del self._last_seq[next(iter(self._last_seq))]
        if seq > last:
            return False
        self._counters.batches_read_before += 1
        log.warning("batch_read_before", node=node_id, seq=seq)
        return True

    def _turn_is_over(self) -> bool:
        return self._clock() > self._turn_ends
