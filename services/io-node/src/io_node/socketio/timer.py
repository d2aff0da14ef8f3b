"""Timers, as sessions and the throttle use them. The node starts them on Engine.IO's timer wheel."""

from collections.abc import Callable
from typing import Protocol, TypeAlias


class Timer(Protocol):
    def cancel(self) -> None: ...


StartTimer: TypeAlias = Callable[[float, Callable[[], None]], Timer]
"""Calls back once after so many seconds, unless the timer is cancelled."""
