"""What waits for the inbox of one node, and the one entry that is on its way there.

The inbox gets the commands in the order in which they were put, each once. For that, an entry keeps its sequence number
until Redis has taken it, and the next one is made only then. When another app-node takes over a lane of ours it bars
us at each inbox, and Redis refuses what we made before. Such an entry is made anew, without the commands of lanes that
are lost.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import cast

import structlog

from app_node.counters import Counters
from app_node.downlink.batch import Batch
from app_node.downlink.concerned import concerned
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.codec import encode_app_inbox, encode_downlink
from sio_cluster.protocol.messages import AppInboxItem, Command, ServerItem
from sio_cluster.streams.api.appends import Append

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all queues of an outbox share. `on_end` is called with a batch whose end has come; True: Redis has it."""

    node_id: str
    inbox_max_bytes: int
    counters: Counters
    on_end: Callable[[Batch, bool], None]


class InboxQueue:
    """One inbox. `flying` is the entry on its way: its batch and the append that carries it.

    `for_app_node`: the inbox is that of an app-node, which takes other messages.
    """

    __slots__ = (
        "_around", "backoff", "bar", "batches", "flying", "for_app_node", "held_until", "node", "seq", "stream",
    )  # fmt: skip

    def __init__(
        self, node: str, stream: str, seq: int, bar: int, around: Surroundings, *, for_app_node: bool = False
    ) -> None:
        self.node = node
        self.for_app_node = for_app_node
        self.stream = stream
        self.seq = seq  # of the last entry made
        self.bar = bar  # how often we were barred at this inbox, as far as we know
        self.batches: list[Batch] = []  # the last one still takes commands
        self.flying: tuple[Batch, Append] | None = None
        self.held_until = 0.0  # the inbox was full: nothing is tried before
        self.backoff = Backoff()
        self._around = around

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return self.flying is None and not self.batches

    @property
    def waiting(self) -> int:
        """Commands that Redis does not have yet, as far as we know."""
        flying = 0 if self.flying is None else len(self.flying[0].items)
        return flying + sum(len(batch.items) for batch in self.batches)

    def prepare(self) -> tuple[Batch, Append] | None:
        """The entry to append now: the one on its way again, or else the next one. None where there is none."""
        if self.flying is not None:
            self._look_again(*self.flying)
        if self.flying is None and self.batches:
            self._make_next()
        return self.flying

    def written(self, batch: Batch) -> None:
        """Redis has the entry that was on its way."""
        self._around.counters.commands_written += len(batch.items)
        self._landed(batch)

    def concerned_nobody(self, batch: Batch) -> None:
        """Redis did not take the entry that was on its way: nobody there is in a room that it is for."""
        self._around.counters.commands_for_nobody += len(batch.items)
        self._landed(batch)

    def hold(self, now: float) -> None:
        """The inbox is full: the same entry is tried again after a while."""
        wait = next(self.backoff)
        self.held_until = now + wait
        self._around.counters.inbox_full += 1
        log.warning("inbox_full", node=self.node, wait_ms=round(wait * 1000))

    def barred(self, bar: int) -> None:
        """Redis refused the entry: it is made anew with the next `prepare`. `bar` must have been read after that."""
        self._around.counters.appends_barred += 1
        log.warning("outbox_barred", node=self.node, bar=bar)
        if self.flying is not None:
            self.batches.insert(0, self.flying[0])
            self.flying = None
            self.seq -= 1
        self.bar = bar

    def take_back(self, commands: Collection[Command | ServerItem]) -> None:
        """Gives these commands up, as far as they are neither on their way nor in Redis."""
        given_up = {id(command) for command in commands}
        for batch in self.batches:
            kept = [item for item in batch.items if id(item[0]) not in given_up]
            self._around.counters.commands_dropped["taken_back"] += len(batch.items) - len(kept)
            batch.items = kept

    def drop(self) -> None:
        """Gives everything up: the io-node is gone, and nobody reads its inbox."""
        batches = self._all()
        number = sum(len(batch.items) for batch in batches)
        self._around.counters.commands_dropped["node_gone"] += number
        log.warning("outbox_dropped", node=self.node, commands=number)
        self.flying = None
        self.batches = []
        for batch in batches:
            self._around.on_end(batch, False)

    def abandon(self) -> None:
        """The node has ended: nothing more is written."""
        for batch in self._all():
            batch.abandon()

    def _landed(self, batch: Batch) -> None:
        self.flying = None
        self.held_until = 0.0
        self.backoff.reset()
        self._around.on_end(batch, True)

    def _all(self) -> list[Batch]:
        return [*([self.flying[0]] if self.flying else []), *self.batches]

    def _make_next(self) -> None:
        while self.batches:
            batch = self.batches.pop(0)
            self._drop_lost(batch)
            if batch.items:
                self.seq += 1
                self.flying = (batch, self._append(batch, self.seq))
                return
            self._around.on_end(batch, False)

    def _look_again(self, batch: Batch, append: Append) -> None:
        """Before a retry: leaves out what lost lanes said. After a long pause of this process nobody may know any more
        that we were barred.

        The first try may have landed, so other commands never get its sequence number.
        """
        if not self._drop_lost(batch):
            return
        if batch.items:
            self.flying = (batch, self._append(batch, append.seq))
        else:
            self.flying = None
            self._around.on_end(batch, False)

    def _drop_lost(self, batch: Batch) -> int:
        dropped = batch.drop_lost()
        if dropped:
            self._around.counters.commands_dropped["lane_lost"] += dropped
        return dropped

    def _append(self, batch: Batch, seq: int) -> Append:
        """The entry with what is in the batch now."""
        items = [item for item, _ in batch.items]
        node_id, max_bytes = self._around.node_id, self._around.inbox_max_bytes
        if self.for_app_node:
            entry = encode_app_inbox(node_id, seq, cast(list[AppInboxItem], items))
            return Append(self.stream, node_id, seq, entry, max_bytes, self.bar)
        commands = cast(list[Command], items)
        only_for, lets_into = concerned(self.node, commands)
        entry = encode_downlink(node_id, seq, commands)
        return Append(self.stream, node_id, seq, entry, max_bytes, self.bar, only_for=only_for, lets_into=lets_into)
