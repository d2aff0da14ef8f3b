"""What must end before a lane entry may be forgotten.

A lane entry carries the facts of one io-node's tick. Each entry in work has one `EntryProgress`. It counts the facts
whose handling has not ended, the batches of commands that Redis does not have, and the changes of client records that
are not written. At nought the entry is committed. A running handler finds its entry in a context variable, so that what
it emits counts for that entry.
"""

from collections.abc import Callable
from contextvars import ContextVar

from app_node.counters import Outcome
from app_node.lanes.lane import Lane


class EntryProgress:
    """How far one lane entry is.

    Calls `on_fact` each time that one of its facts has ended, and `on_done` once, when all that was begun has ended.
    """

    __slots__ = ("_last", "_on_done", "_on_fact", "_pending", "done", "entry_id", "lane", "redelivered")

    def __init__(
        self,
        lane: Lane,
        entry_id: bytes,
        redelivered: bool,
        on_done: "Callable[[EntryProgress], None]",
        on_fact: "Callable[[EntryProgress, Outcome], None] | None" = None,
    ) -> None:
        self.lane = lane
        self.entry_id = entry_id
        self.redelivered = redelivered
        self.done = False
        self._pending = 1  # the reader's own share, until it has handed out all facts
        self._last: Callable[[], None] | None = None
        self._on_done = on_done
        self._on_fact = on_fact

    @property
    def pending(self) -> int:
        """How many things that were begun have not ended."""
        return self._pending

    def then(self, last: Callable[[], None]) -> None:
        """Sets what to call when everything else has ended, just before `on_done`."""
        self._last = last

    def begin(self, number: int = 1) -> None:
        """The entry is not done before this many more calls of `end`."""
        self._pending += number

    def end_fact(self, outcome: Outcome) -> None:
        """One of the facts that were begun has ended, in this way."""
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


current_progress: ContextVar[EntryProgress | None] = ContextVar("current_progress", default=None)
"""The entry for which the running handler works. None outside of handlers."""


def open_progress() -> EntryProgress | None:
    """The current entry. None outside of handlers, and in a task that goes on after its handler's entry is done."""
    progress = current_progress.get()
    return None if progress is None or progress.done else progress
