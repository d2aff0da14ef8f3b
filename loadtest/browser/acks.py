"""Acks that a browser waits for."""

from collections.abc import Callable

MAX_WAITING = 100_000
"""Beyond it the oldest is given up."""

Answered = Callable[[bytes | None], None]
"""Gets the ack's arguments as JSON, None where the ack was given up."""


class Acks:
    """Ids count up over the browser's life, as the official client's. `given_up` counts acks that never came."""

    __slots__ = ("_next", "_waiting", "given_up")

    def __init__(self) -> None:
        self.given_up = 0
        self._next = 0
        self._waiting: dict[int, Answered] = {}

    def expect(self, answered: Answered) -> int:
        """The id under which to ask."""
        number = self._next
        self._next += 1
        self._waiting[number] = answered
        if len(self._waiting) > MAX_WAITING:
            self._give_up(next(iter(self._waiting)))
        return number

    def take(self, number: int, content: bytes) -> None:
        """An ack arrived. One that nobody waits for any more is dropped: its time-out counted it."""
        answered = self._waiting.pop(number, None)
        if answered is not None:
            answered(content)

    def forget(self, number: int) -> None:
        """It is waited for no longer."""
        if self._waiting.pop(number, None) is not None:
            self.given_up += 1

    def give_up_all(self) -> None:
        for number in list(self._waiting):
            self._give_up(number)

    def _give_up(self, number: int) -> None:
        answered = self._waiting.pop(number)
        self.given_up += 1
        answered(None)
