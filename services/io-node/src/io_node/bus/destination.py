"""One stream that facts go to: what waits for it, and the batch that Redis may or may not have yet."""

from collections import deque

from io_node.backpressure import Paused
from io_node.bus.batch import Batch, next_batch
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.messages import UplinkItem


class Destination:
    """A lane, or the inbox of the app-node whose id is `app_node`.

    `full` since Redis refused a batch because the stream holds too many bytes. Then the batch is tried again at
    `retry_at`, and `paused` are the connections that are not read because of it.
    """

    __slots__ = (
        "_backoff",
        "app_node",
        "batch",
        "facts",
        "full",
        "max_bytes",
        "paused",
        "retry_at",
        "since",
        "stream",
        "waiting_bytes",
    )

    def __init__(self, stream: str, app_node: str | None, max_bytes: int) -> None:
        self.stream = stream
        self.app_node = app_node
        self.max_bytes = max_bytes
        self.facts: deque[UplinkItem] = deque()
        """Facts that are in no batch yet."""
        self.since = 0.0
        """When the first came of those that wait, or of those that left in the batch before them."""
        self.waiting_bytes = 0
        """What `facts` and `batch` weigh."""
        self.batch: Batch | None = None
        self.full = False
        self.retry_at = 0.0
        self.paused: Paused = {}
        self._backoff = Backoff()

    @property
    def waiting_facts(self) -> int:
        return len(self.facts) + (self.batch.facts if self.batch is not None else 0)

    def next_batch(self, node_id: str, seq: int) -> Batch:
        """The batch that is to be tried again, or a new one with this sequence number."""
        if self.batch is None:
            self.batch = next_batch(self.facts, node_id, seq, self.since, for_inbox=self.app_node is not None)
        return self.batch

    def settle(self, batch: Batch) -> bool:
        """The batch is in Redis. True if the stream was full until now."""
        self.waiting_bytes -= batch.size
        self.batch = None
        was_full, self.full = self.full, False
        if was_full:
            self._backoff.reset()
        return was_full

    def put_off(self, now: float) -> None:
        """The stream is full: try again later."""
        self.full = True
        self.retry_at = now + next(self._backoff)

    def drop(self) -> int:
        """Forget all that waits. Returns how many facts that were."""
        dropped = self.waiting_facts
        self.facts.clear()
        self.batch = None
        self.waiting_bytes = 0
        return dropped
