"""Notices when the event loop of a node stands still, since something that runs in it does not give it back.

The event loop beats, a few times a second. A thread looks whether it does. A timer of the operating system helps where
no thread can run either, because something holds Python's global interpreter lock (GIL), such as a regular expression
that backtracks.
"""

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from sio_cluster.node.rest import rest

STEP_S = 0.5
"""The time from one beat to the next at most, and from one look to the next."""


class Stall:
    """How long the event loop has stood still, as far as one who looks now and then can tell.

    Time in which the whole process stood still does not count: it was paused (SIGSTOP), or its machine was. Then nobody
    looked, and no CPU time was used. If the CPU was used and nobody looked, something held the GIL.
    """

    def __init__(self, step_s: float) -> None:
        """`step_s`: how often somebody means to look."""
        self._step_s = step_s
        self._beats = -1
        self._now_s = self._cpu_s = 0.0
        self.lasted_s = 0.0
        """How long the event loop has stood still, or had when it last turned."""
        self.turns = True
        """Whether the event loop has turned since the last look."""

    def look(self, beats: int, now_s: float, cpu_s: float) -> None:
        """`beats`: how often the loop has beaten. `now_s`: a steady clock. `cpu_s`: the CPU time of the process."""
        elapsed_s, used_s = now_s - self._now_s, cpu_s - self._cpu_s
        self._now_s, self._cpu_s = now_s, cpu_s
        if elapsed_s > 2 * self._step_s:
            elapsed_s = min(elapsed_s, max(self._step_s, used_s))
        was_turning, self.turns = self.turns, beats != self._beats
        self._beats = beats
        if not (was_turning and self.turns):
            self.lasted_s = elapsed_s if was_turning else self.lasted_s + elapsed_s


class Watchdog:
    """Calls `on_stall(seconds, frame)` at each look at which the event loop stands still, from a thread of its own.

    `frame` is what the event loop's thread runs. When the event loop turns again, `on_turn(seconds)` is called once,
    with the time that it stood still. `on_beat()` is called by the event loop itself, at each beat.
    """

    def __init__(
        self,
        *,
        step_s: float,
        on_beat: Callable[[], None],
        on_stall: Callable[[float, FrameType | None], None],
        on_turn: Callable[[float], None],
    ) -> None:
        self._step_s = min(step_s, STEP_S)
        self._on_beat = on_beat
        self._on_stall = on_stall
        self._on_turn = on_turn
        self._beats = 0
        self._stopped = threading.Event()

    async def run(self) -> None:
        """A loop for as long as the node lives: beats, while the thread looks."""
        watcher = threading.Thread(target=self._watch, args=(threading.get_ident(),), name="watchdog", daemon=True)
        watcher.start()
        try:
            while True:
                self._beats += 1
                self._on_beat()
                await rest(self._step_s)
        finally:
            self._stopped.set()

    def _watch(self, thread_id: int) -> None:
        stall = Stall(self._step_s)
        while not self._stopped.wait(self._step_s):
            stood_still = not stall.turns
            stall.look(self._beats, time.monotonic(), time.process_time())
            if not stall.turns:
                self._on_stall(stall.lasted_s, sys._current_frames().get(thread_id))
            elif stood_still:
                self._on_turn(stall.lasted_s)


class CpuLimit:
    """Ends this process when it has computed for too long and nobody has called `renew`. No Python code need run.

    The process then prints the stack of its running thread on stderr, and is killed by SIGVTALRM. Not used where the
    program uses that signal or its timer for itself. For the main thread only.

    `faulthandler.dump_traceback_later` would do the same, but its clock goes on while the process is paused.
    """

    def __init__(self) -> None:
        self._ours = signal.getsignal(signal.SIGVTALRM) is signal.SIG_DFL and not any(
            signal.getitimer(signal.ITIMER_VIRTUAL)
        )
        if self._ours:
            with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):  # stderr is no file
                faulthandler.register(signal.SIGVTALRM, file=sys.stderr, all_threads=False, chain=True)

    def renew(self, limit_s: float) -> None:
        """Each thread of the process may compute for `limit_s` from now on."""
        if self._ours:
            signal.setitimer(signal.ITIMER_VIRTUAL, limit_s * _busy_threads())

    def close(self) -> None:
        """Stops the timer, and gives the signal back."""
        if self._ours:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            faulthandler.unregister(signal.SIGVTALRM)


def _busy_threads() -> int:
    """How many threads of this process can compute at a time, at most. The watchdog's own does not."""
    cpus = os.cpu_count() or 1
    try:
        return max(1, min(cpus, len(os.listdir("/proc/self/task")) - 1))
    except OSError:  # not Linux
        return cpus
