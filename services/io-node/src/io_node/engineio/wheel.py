"""The deadlines of all clients, on one timer of the event loop."""

import asyncio
import math
import time
from collections.abc import Callable

import structlog

from sio_cluster.node.turn import TURN_S

log = structlog.get_logger()

_TICK_S = 0.02
_LOOK = 16
"""How many callbacks run between two looks at the time."""
_STALL_S = 0.5
"""An event loop that is later than this was held up."""
_AHEAD = 50
"""For how many ticks the wheel sleeps at most, where nothing is due before."""
_NEVER = 1 << 62
"""A tick that does not come."""


class Timer:
    """One deadline. `cancel` is O(1) and idempotent.

    Its callback holds its owner, and the owner holds it. So an owner that has ended calls `end`, or both would wait
    for Python's garbage collector.
    """

    __slots__ = ("_slot", "_wheel", "callback")

    def __init__(self, wheel: "TimerWheel", callback: Callable[[], None]) -> None:
        self._wheel = wheel
        self._slot: int | None = None
        self.callback = callback

    @property
    def armed(self) -> bool:
        return self._slot is not None

    def set(self, deadline: float) -> None:
        """Call back at `deadline`. A deadline that was set before no longer counts."""
        self._wheel.arm(self, deadline)

    def set_earlier(self, deadline: float) -> None:
        """The same, unless a deadline was set that comes first. `inf` changes nothing."""
        self._wheel.arm_earlier(self, deadline)

    def cancel(self) -> None:
        self._wheel.disarm(self)

    def end(self) -> None:
        """Cancel it for good, and let go of its callback."""
        self._wheel.disarm(self)
        self.callback = _nobody


def _nobody() -> None:
    """The callback of a timer that has ended."""


class TimerWheel:
    """Calls back at deadlines, 0 to 20 ms late and never early. Setting, moving and cancelling are O(1).

    When very many are due at once, other work of the loop goes on in between, and the last ones are later than that.
    `clock` is monotonic and gives seconds. The event loop's timer runs only while a deadline is set, and wakes the loop
    up for the next one, or after a second. When the loop was held up for more than half a second, it first reads what
    has arrived meanwhile. So no client is closed because the node itself stalled. Use it only in the event loop's
    thread.
    """

    __slots__ = ("_clock", "_expected", "_goes_on", "_handle", "_next", "_slots", "_wakes")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots: dict[int, dict[Timer, None]] = {}
        self._next = 0
        self._expected = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._wakes = _NEVER  # the tick at which the event loop's timer goes off
        self._goes_on: asyncio.Handle | None = None  # the next turn of what is due

    def schedule(self, deadline: float, callback: Callable[[], None]) -> Timer:
        """Call back once at `deadline`, which is a time of `clock`. The callback must not raise."""
        timer = Timer(self, callback)
        self.arm(timer, deadline)
        return timer

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set a timer, or set it anew. `inf` disarms it."""
        self.disarm(timer)
        if deadline == math.inf:
            return
        if self._handle is None:
            self._next = math.floor(self._clock() / _TICK_S)
        slot = max(math.ceil(deadline / _TICK_S), self._next)
        self._slots.setdefault(slot, {})[timer] = None
        timer._slot = slot
        if slot < self._wakes:
            self._wake_at(slot)

    def arm_earlier(self, timer: Timer, deadline: float) -> None:
        """Set a timer that is not set, or bring it forward."""
        slot = timer._slot
        if slot is None or (deadline != math.inf and math.ceil(deadline / _TICK_S) < slot):
            self.arm(timer, deadline)

    def disarm(self, timer: Timer) -> None:
        slot = timer._slot
        if slot is None:
            return
        timer._slot = None
        timers = self._slots.get(slot)
        if timers is not None:
            timers.pop(timer, None)
            if not timers:
                del self._slots[slot]

    def stop(self) -> None:
        """Forget every deadline."""
        self._slots.clear()
        self._stay_asleep()
        if self._goes_on is not None:
            self._goes_on.cancel()
            self._goes_on = None

    def _wake_at(self, slot: int) -> None:
        """Not before the next tick. Where it meant to wake up at another time, it does not."""
        self._stay_asleep()
        now = self._clock()
        self._wakes = max(slot, math.floor(now / _TICK_S) + 1)
        delay_s = self._wakes * _TICK_S - now + 0.001  # the loop counts whole milliseconds
        self._expected = now + delay_s
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._run)

    def _stay_asleep(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._wakes = _NEVER

    def _sleep(self, now: float) -> None:
        """Until the next deadline."""
        slot = math.floor(now / _TICK_S) + 1
        latest = slot + _AHEAD
        while slot < latest and slot not in self._slots:
            slot += 1
        self._wake_at(slot)

    def _run(self) -> None:
        now = self._clock()
        late_s = now - self._expected
        self._sleep(now)
        if late_s > _STALL_S:
            log.warning("event_loop_stalled", late_ms=round(late_s * 1000))
            self._wake_at(self._next)
            return
        if self._goes_on is None:  # else that turn finds what is due now, too
            self._fire(math.floor(now / _TICK_S))
        if not self._slots:
            self._stay_asleep()

    def _fire_on(self) -> None:
        """The next turn of what was due."""
        self._goes_on = None
        self._fire(math.floor(self._clock() / _TICK_S))

    def _fire(self, until: int) -> None:
        ends_at = time.perf_counter() + TURN_S
        first, self._next = self._next, until + 1
        due = range(first, until + 1) if until - first < len(self._slots) else sorted(self._slots)
        for slot in due:
            if slot > until:
                break
            if not self._fire_slot(slot, ends_at):
                self._goes_on = asyncio.get_running_loop().call_soon(self._fire_on)
                break

    def _fire_slot(self, slot: int, ends_at: float) -> bool:
        """False: the turn is over, and some of them are left."""
        done = 0
        try:
            while timers := self._slots.get(slot):
                timer = next(iter(timers))
                self.disarm(timer)
                timer.callback()
                done += 1
                if done % _LOOK == 0 and time.perf_counter() > ends_at:
                    return slot not in self._slots
            return True
        finally:
            if slot in self._slots:  # or a callback raised. The loop reports it; the rest is called 20 ms later
                self._next = slot
                self._wake_at(slot)
