"""Which batches come a second time."""

_MOST_NODES = 1_000
"""So many app-nodes' last sequence numbers are remembered. Each start of an app-node is a new node id."""


class Repeats:
    """The last sequence number of each app-node, in what is read in order.

    Redis itself drops a repeated append, unless it lost its data, or has forgotten who appended, after the first one.
    """

    __slots__ = ("_last_seq",)

    def __init__(self) -> None:
        self._last_seq: dict[str, int] = {}  # who wrote last stands last

    def is_repeated(self, node_id: str, seq: int) -> bool:
        """Whether this batch of an app-node came before. Call it once for each batch."""
        last = self._last_seq.pop(node_id, 0)
        self._last_seq[node_id] = max(seq, last)
        if len(self._last_seq) > _MOST_NODES:
            del self._last_seq[next(iter(self._last_seq))]
        return seq <= last
