"""What one member received from one publisher in one room, exactly, in little memory."""

from bisect import bisect_right


class Stream:
    """The set of sequences received is [0, next) less the holes. `holes` are [from, to) pairs in order.

    Memory: a pair per hole, so at most half as many as there were emits; without losses there is one or none (what
    was emitted before the member came).
    """

    __slots__ = ("duplicated", "holes", "next", "reordered")

    def __init__(self) -> None:
        self.next = 0
        self.holes: list[list[int]] = []
        self.duplicated = 0
        self.reordered = 0

    def take(self, seq: int) -> None:
        if seq == self.next:
            self.next = seq + 1
        elif seq > self.next:
            self.holes.append([self.next, seq])
            self.next = seq + 1
        else:
            self._late(seq)

    def _late(self, seq: int) -> None:
        """It comes after a higher one: either a hole is waiting for it, or it is here already."""
        at = bisect_right(self.holes, seq, key=_beginning) - 1
        if at < 0 or seq >= self.holes[at][1]:
            self.duplicated += 1
            return
        self.reordered += 1
        begin, end = self.holes[at]
        self.holes[at : at + 1] = [part for part in ([begin, seq], [seq + 1, end]) if part[0] < part[1]]

    @property
    def received(self) -> int:
        return self.next - sum(end - begin for begin, end in self.holes)

    @property
    def gaps(self) -> int:
        """How many are missing between the first one received and the last: what a look at the run shows so far."""
        head = bool(self.holes) and self.holes[0][0] == 0
        return sum(end - begin for begin, end in self.holes[head:])


def _beginning(hole: list[int]) -> int:
    return hole[0]
