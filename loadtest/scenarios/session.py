"""One process's part in one run: its ledger, its clock, and when it is to be quiet."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.event import Event

from loadtest.ledger.ledger import Ledger
from loadtest.scenarios.machine import Load, machine_id, watch_lag
from loadtest.scenarios.options import Settings

QUIET_S = 1.0
ACKS_S = 10.0
CLOCK_S = 5.0
LOOK_S = 0.05


class Session:
    """`index` of `workers`: this process among those that generate load. `on_second(row)` is called each second.

    `run_id` begins the names of rooms, so that runs against one server at the same time do not hear each other.
    `takes_part`: False where this process was not there when the run began: its users do nothing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        index: int = 0,
        workers: int = 1,
        several_machines: bool = False,
        run_id: str = "",
        takes_part: bool = True,
        on_second: Callable[[Any], None] | None = None,
    ) -> None:
        self.settings = settings
        self.run_id = run_id
        self.takes_part = takes_part
        self.ledger = Ledger(machine_id(), settings.namespace)
        self.rng = random.Random()
        self.rate_factor = 1.0  # the ramp turns this
        self.expected = 0  # clients that are to be connected
        self.hushed = False
        self.ended = Event()  # the run is judged: what happens from now on does not count
        self.users: list[Any] = []  # those who take part in a storm
        self._slots = self._count(index, max(workers, 1))
        self._clock_agreed = Event()
        self._on_second = on_second or (lambda row: None)
        self._greenlets: list[Any] = []
        self._load = Load()
        if not several_machines:
            self._clock_agreed.set()

    def start(self) -> None:
        self._greenlets = [gevent.spawn(watch_lag, self.ledger.lag), gevent.spawn(self._seconds)]

    def stop(self) -> None:
        self.ended.set()
        gevent.killall(self._greenlets, block=False)

    def next_slot(self) -> int:
        """A number that no other user has, on any worker; together they count up from 0."""
        return next(self._slots)

    def transport(self) -> str:
        """One by weight."""
        names, weights = zip(*self.settings.transports, strict=True)
        return str(self.rng.choices(names, weights)[0])

    def await_clock(self) -> None:
        """Nobody publishes before the machines agree on the time, but not for longer than CLOCK_S."""
        self._clock_agreed.wait(CLOCK_S)

    def agree(self, shift_us: int) -> None:
        """This machine's clock is so far behind the one that all agree on."""
        self.ledger.shift(shift_us)
        self._clock_agreed.set()

    def every(self, pause_s: float, act: Callable[[], None]) -> None:
        """Calls it again and again, until publishing ends."""

        def run() -> None:
            while True:
                gevent.sleep(pause_s)
                if self.hushed:
                    return
                act()

        self._greenlets.append(gevent.spawn(run))

    def hush(self) -> None:
        """Ends publishing; returns when what was asked is acked and everybody is back, or that took too long."""
        self.hushed = True
        ledger = self.ledger
        self._until(lambda: not ledger.waiting.total() and ledger.clients >= self.expected, ACKS_S)

    def drain(self) -> None:
        """Returns when nothing was delivered for a while, or that took too long."""
        last = (-1, 0.0)

        def is_quiet() -> bool:
            nonlocal last
            heard = self.ledger.heard()
            if heard != last[0]:
                last = (heard, time.monotonic())
            return time.monotonic() - last[1] >= QUIET_S

        self._until(is_quiet, self.settings.drain_s)
        self.ledger.absent = max(0, self.expected - self.ledger.clients)

    def close_second(self) -> None:
        """The second under way counts as it is."""
        self.ledger.close_second(self.ledger.clock.now_us() // 1_000_000, self._load.cpu_percent())

    def _until(self, is_so: Callable[[], bool], limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while not is_so() and time.monotonic() < end:
            gevent.sleep(LOOK_S)

    def _seconds(self) -> None:
        """Closes each second of the agreed clock as it ends."""
        while True:
            now_s = self.ledger.clock.now_us() / 1e6
            at = int(now_s)
            gevent.sleep(at + 1 - now_s)
            self._on_second(self.ledger.close_second(at, self._load.cpu_percent()))

    @staticmethod
    def _count(index: int, step: int) -> Iterator[int]:
        while True:
            yield index
            index += step
