"""What must end before a lane entry may be forgotten.

A lane entry carries the facts of one io-node's tick. Each entry in work has one `EntryProgress`. It counts the facts
whose handling has not ended, the batches of commands that Redis does not have, and the changes of client records that
are not written. At nought the entry is committed. A running handler finds its entry in a context variable, so that what
it emits counts for that entry.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar

from app_node.counters import Outcome
from app_node.lanes.lane import Lane
from sio_cluster.protocol.messages import Fact


class EntryProgress:
    """How far one lane entry is.

    Calls `on_fact` each time that one of its facts has ended, and `on_done` once, when all that was begun has ended.
    """

    __slots__ = (
        "_last", "_on_done", "_on_fact", "_open", "_pending", "_places", "commits", "committed", "done", "ended",
        "entry_id", "lane", "noted", "redelivered", "size",
    )  # fmt: skip

    def __init__(
        self,
        lane: Lane,
        entry_id: bytes,
        redelivered: bool,
        on_done: "Callable[[EntryProgress], None]",
        on_fact: "Callable[[EntryProgress, Outcome], None] | None" = None,
        *,
        commits: bool = False,
        size: int = 0,
    ) -> None:
        """`commits`: the entry may leave its lane as soon as all has ended. `size`: its bytes in Redis."""
        self._open = 0  # facts that have not ended
        self._places: dict[int, int] = {}  # by the identity of such a fact: its number in the entry
        self.ended: list[int] = []  # the numbers of those that have, and are not noted in Redis
        self.noted = False  # whether Redis may have notes of such numbers
        self.lane = lane
        self.entry_id = entry_id
        self.redelivered = redelivered
        self.size = size
        self.commits = commits
        self.committed = False  # Redis has removed it from its lane
        self.done = False
        self._pending = 1  # the reader's own share, until it has handed out all facts
        self._last: Callable[[], None] | None = None
        self._on_done = on_done
        self._on_fact = on_fact

    @property
    def pending(self) -> int:
        """How many things that were begun have not ended."""
        return self._pending

    def begin_facts(self, facts: Sequence[Fact], numbers: Sequence[int]) -> None:
        """The entry is not done before all of these have ended. `numbers`: their places in the entry."""
        self._pending += len(facts)
        self._open += len(facts)
        if self.commits and len(facts) > 1:  # with one fact, the entry is done or it is not
            self._places = dict(zip(map(id, facts), numbers, strict=True))

    def ended_after(self, number: int) -> list[int]:
        """The numbers of the facts of which nothing is left but this many calls of `end`, while others go on."""
        return list(self.ended) if self._open and self._pending - self._open == number else []

    def ends_after(self, number: int) -> bool:
        """Whether it is done, and may be committed, after this many more calls of `end`."""
        return self.commits and self._pending == number and self._last is None

    def then(self, last: Callable[[], None]) -> None:
        """Sets what to call when everything else has ended, just before `on_done`."""
        self._last = last

    def begin(self, number: int = 1) -> None:
        """The entry is not done before this many more calls of `end`."""
        self._pending += number

    def end_fact(self, fact: Fact, outcome: Outcome) -> None:
        """One of the facts that were begun has ended, in this way."""
        self._open -= 1
        if self._places:
            self.ended.append(self._places.pop(id(fact)))
        if self._on_fact is not None:
            self._on_fact(self, outcome)
        self.end()

    def end(self) -> None:
        """Something that was begun has ended."""
        self._pending -= 1
        if not self._pending:
            self.done = True
            if self._last is not None:
                self._last()
            self._on_done(self)

    def part(self) -> "EntryProgress":
        """The progress of one fact alone, for which the entry waits. Its `then` is called when what the fact's handler
        said is in Redis."""
        self.begin()
        return EntryProgress(self.lane, self.entry_id, self.redelivered, lambda _: self.end())


current_progress: ContextVar[EntryProgress | None] = ContextVar("current_progress", default=None)
"""The entry for which the running handler works. None outside of handlers."""


def open_progress() -> EntryProgress | None:
    """The current entry. None outside of handlers, and in a task that goes on after its handler's entry is done."""
    progress = current_progress.get()
    return None if progress is None or progress.done else progress
