"""What must be done before a lane entry may be forgotten.

A `Scope` belongs to one lane entry. It counts the facts that are not handled, the batches of commands that Redis does
not have, and the record changes that are not written. At nought the entry is committed. Handlers carry it in a context
variable, so that what they emit counts for their entry.
"""

from collections.abc import Callable
from contextvars import ContextVar

from app_node.lanes.lane import Lane


class Scope:
    """The account of one lane entry. `on_done` is called once, when everything that was begun has ended; `on_fact` for
    each of its facts that has ended."""

    __slots__ = ("_last", "_on_done", "_on_fact", "_pending", "done", "id", "lane", "redelivered")

    def __init__(
        self,
        lane: Lane,
        id: bytes,
        redelivered: bool,
        on_done: "Callable[[Scope], None]",
        on_fact: "Callable[[Scope, str], None] | None" = None,
    ) -> None:
        self.lane = lane
        self.id = id
        self.redelivered = redelivered
        self.done = False
        self._pending = 1  # the reader's own, until all facts are handed out
        self._last: Callable[[], None] | None = None
        self._on_done = on_done
        self._on_fact = on_fact

    def then(self, last: Callable[[], None]) -> None:
        """What to do when everything else has ended, before `on_done`."""
        self._last = last

    def begin(self, number: int = 1) -> None:
        """Something more must end before the entry is done."""
        self._pending += number

    def end_fact(self, outcome: str) -> None:
        """One of the entry's facts, which were begun, has ended. `outcome`: what it counts as, see `counters`."""
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


current_scope: ContextVar[Scope | None] = ContextVar("current_scope", default=None)
"""The entry on whose behalf the running handler acts. None outside of handlers."""


def open_scope() -> Scope | None:
    """The current scope, None where there is none or its entry is done already (a background task lives on)."""
    scope = current_scope.get()
    return None if scope is None or scope.done else scope
