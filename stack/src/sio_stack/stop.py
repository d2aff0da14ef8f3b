"""How a command ends: by Ctrl-C, SIGTERM or SIGHUP. `make run` and `make loadtest` use it."""

import asyncio
import signal
import time
from collections.abc import Callable

LATER_S = 0.5
"""A second Ctrl-C within this time counts as the first: some wrappers pass one Ctrl-C on twice."""


def _nothing() -> None:
    """The default of both callbacks."""


class Stop:
    """The first signal asks for an orderly end (`asked`), a later Ctrl-C for an immediate one (`at_once`).

    `on_asked` and `on_at_once` are called too. Both may be set at any time.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self.on_asked: Callable[[], object] = _nothing
        self.on_at_once: Callable[[], object] = _nothing
        self._first = 0.0

    def listen(self) -> None:
        """From now on signals of this process come here."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signal, number)

    def _signal(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if not self.asked.is_set():
            self._first = now
            self.asked.set()
            self.on_asked()
        elif number == signal.SIGINT and now - self._first > LATER_S:
            self.at_once.set()
            self.on_at_once()
