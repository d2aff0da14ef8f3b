"""Virtual time, and event loops that run by it."""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import Any

MAX_PASSES = 20_000


class VirtualClock:
    """Seconds. They pass when somebody says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class SteppedLoop:
    """One process: an asyncio event loop that does something in `turn` alone.

    `offset_s` is what this machine's monotonic clock is ahead of the others': no two of them agree.
    """

    def __init__(self, clock: VirtualClock, offset_s: float = 0.0) -> None:
        self._clock = clock
        self._offset_s = offset_s
        self._passes = 0
        self._until_idle_s: float | None = 0.0
        self._turned_at = clock.now
        self.loop = _Loop(_Selector(self._polled), self.time)
        self.woken = True

    def time(self) -> float:
        """This machine's monotonic clock, in seconds."""
        return self._clock.now + self._offset_s

    @property
    def due_at(self) -> float | None:
        """When, by the virtual clock, its next timer rings; None where it has none."""
        return None if self._until_idle_s is None else self._turned_at + self._until_idle_s

    @property
    def is_awake(self) -> bool:
        """Whether a turn would do something now."""
        due_at = self.due_at
        return self.woken or (due_at is not None and due_at <= self._clock.now)

    def turn(self) -> None:
        """Runs all that is ready, and what gets ready by that. Raises RuntimeError where that has no end."""
        self.woken = False
        self._passes = 0
        self._turned_at = self._clock.now
        self.loop.run_forever()
        if self._passes >= MAX_PASSES:
            raise RuntimeError(f"a busy loop: {MAX_PASSES} passes without waiting for anything")

    def close(self) -> None:
        """Ends what runs there. Idempotent."""
        if self.loop.is_closed():
            return
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        ended = asyncio.gather(*tasks, return_exceptions=True) if tasks else None
        for _ in range(10):
            if ended is None or ended.done():
                break
            self.turn()
        self.loop.close()

    def _polled(self, timeout_s: float | None) -> None:
        """The loop looks for input: with a time-out of nought it has more to do."""
        self._passes += 1
        self._until_idle_s = timeout_s
        if timeout_s != 0 or self._passes >= MAX_PASSES:
            self.loop.stop()


class _Loop(asyncio.SelectorEventLoop):
    """asyncio's own loop by another clock."""

    def __init__(self, selector: selectors.BaseSelector, now: Callable[[], float]) -> None:
        self._now = now
        super().__init__(selector)

    def time(self) -> float:
        return self._now()


class _Selector(selectors.BaseSelector):
    """No input ever comes. asyncio tells it, by the time-out it gives, how long it has nothing to do."""

    def __init__(self, polled: Callable[[float | None], None]) -> None:
        self._polled = polled
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, descriptor, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._polled(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys
