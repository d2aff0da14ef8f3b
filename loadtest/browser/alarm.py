"""One-shot timers of gevent's hub."""

from collections.abc import Callable
from typing import Any

import gevent


class Alarm:
    """Calls back once, in the hub, after the time it was last set to. It keeps nothing running of its own accord."""

    __slots__ = ("_timer",)

    def __init__(self) -> None:
        self._timer: Any = None

    @property
    def is_set(self) -> bool:
        return self._timer is not None

    def set(self, after_s: float, callback: Callable[..., None], *args: Any) -> None:
        """Replaces what was set before."""
        self.clear()
        self._timer = gevent.get_hub().loop.timer(max(0.0, after_s))
        self._timer.start(self._ring, callback, args)

    def clear(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _ring(self, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.clear()
        callback(*args)
