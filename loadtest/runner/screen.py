"""What the user sees during a run: one changing line on a terminal, or a line every ten seconds in a pipe."""

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_EVERY_S = 10.0


class Terminal(Console):
    """A console whose reader may go away, as `| head` does. The run goes on and writes its report."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


class Screen:
    """Where the command prints."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Terminal(highlight=False, soft_wrap=True)
        self.errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        self.console.print(Text(text, style="dim"))

    def warn(self, text: str) -> None:
        self.console.print(Text(text, style="yellow"))

    def refuse(self, text: str) -> None:
        """One line on standard error."""
        self.errors.print(Text.assemble(("make loadtest: ", "bold red"), " ".join(text.split())))


class Progress:
    """`with Progress(screen, run_time_s) as progress`, then `progress.show(figures)` each second."""

    def __init__(self, screen: Screen, run_time_s: int) -> None:
        self._console = screen.console
        self._run_time_s = run_time_s
        self._first: float | None = None  # when locust reported its first second
        self._said = 0.0
        self._live = Live(Text("Starting locust ..."), console=screen.console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Progress":
        self._said = time.monotonic()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, live: Mapping[str, float]) -> None:
        now = time.monotonic()
        self._first = now if self._first is None else self._first
        text = line(now - self._first, self._run_time_s, live)
        if self._console.is_terminal:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
        elif now - self._said >= PLAIN_EVERY_S:
            self._said = now
            self._console.print(text)


def line(elapsed_s: float, run_time_s: int, live: Mapping[str, float]) -> str:
    """The progress line: what happened in the last second."""
    lost = live.get("lost", 0)
    return (
        f"{min(elapsed_s, run_time_s):3.0f} of {run_time_s} s  {live.get('clients', 0):,.0f} clients  "
        f"{live.get('deliveries_per_s', 0):,.0f} deliveries/s  p99 {live.get('p99_ms', 0):,.1f} ms"
        + (f"  {lost:,.0f} seem lost" if lost else "")
    )
