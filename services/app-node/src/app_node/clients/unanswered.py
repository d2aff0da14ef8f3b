"""Finds the questions that no client can answer any more, and of which nobody has told this app-node.

An io-node tells of each question that ends with its client (`AckMissed`). One that was killed tells nothing. So the
records of clients that owe an answer are looked at once in a heartbeat. A question is given up when its client looked
gone `LOOKS` times in a row: by then, an answer that did come has been read.
"""

import asyncio
from collections.abc import Collection

from app_node.clients.callbacks import Callbacks
from app_node.clients.record_access import RecordAccess
from app_node.counters import Counters
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.ids import node_of
from sio_cluster.streams.api.records import ClientRecord
from sio_cluster.streams.api.registry import Registry

LOOKS = 3
"""How often in a row a client must look gone."""
MOST = 500
"""How many clients one look is for: their records are asked for together. Where more owe answers, they take turns."""


class Unanswered:
    """Looks at the clients that owe this app-node an answer. `run` is a loop."""

    def __init__(
        self, callbacks: Callbacks, records: RecordAccess, registry: Registry, counters: Counters, *, pause_s: float
    ) -> None:
        self._callbacks = callbacks
        self._records = records
        self._registry = registry
        self._retry = Retry("unanswered", counters.redis_retries)
        self._pause_s = pause_s
        self._turn: list[str] = []  # who is still to be looked at
        self._looks: dict[int, int] = {}  # by ack id: how often in a row its client has looked gone
        self._life: str | None = None

    async def run(self) -> None:
        """For as long as the node lives. Retried while Redis is away."""
        await self._retry.forever(self.look, pause_s=self._pause_s)

    async def look(self) -> None:
        """One look. Raises BusError."""
        if not self._turn:
            self._turn = self._callbacks.clients
            self._looks = {ack_id: looks for ack_id, looks in self._looks.items() if self._callbacks.waits(ack_id)}
        if not self._turn:
            return
        life = await self._registry.life()
        if life is None or life != self._life:  # Redis lost its data: io-nodes store the records anew
            self._life = life
            self._looks.clear()
        alive = await self._registry.io_nodes()
        sids, self._turn = self._turn[:MOST], self._turn[MOST:]
        # Before the records are read: they may be gone when others ask.
        asked = [self._callbacks.asked(sid) for sid in sids]
        records = await asyncio.gather(*[self._records.load(sid) for sid in sids])
        for sid, ack_ids, record in zip(sids, asked, records, strict=True):
            for ack_id in ack_ids:
                self._judge(sid, ack_id, record, alive)

    def _judge(self, sid: str, ack_id: int, record: ClientRecord | None, alive: Collection[str]) -> None:
        if not self._is_gone(sid, ack_id, record, alive):
            self._looks.pop(ack_id, None)
            return
        looks = self._looks.get(ack_id, 0) + 1
        self._looks[ack_id] = looks
        if looks >= LOOKS:
            del self._looks[ack_id]
            self._callbacks.missed(sid, ack_id)

    def _is_gone(self, sid: str, ack_id: int, record: ClientRecord | None, alive: Collection[str]) -> bool:
        if record is None:  # an io-node that lives has told, or will; or it is about to store the record anew
            return node_of(sid) not in alive
        return record.away or self._callbacks.is_older(ack_id, record.let_in)
