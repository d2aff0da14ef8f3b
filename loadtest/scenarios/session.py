"""One process's part in one run: its account, its clock, and when it falls silent. A process has one at a time."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.event import Event

from loadtest.accounting.account import Account
from loadtest.accounting.worker_report import Final
from loadtest.scenarios.machine import Load, machine_id, watch_lag
from loadtest.scenarios.options import Settings

QUIET_S = 1.0
ACKS_S = 10.0
CLOCK_S = 5.0
LOOK_S = 0.05


class Session:
    """What the users of one process share during one run.

    `index` of `workers` is the number of this process among those that generate load. `run_id` begins the names of
    rooms, so that two runs against one server do not hear each other. `takes_part` is False where this process came
    after the run had begun; its users do nothing. `on_second(row)` is called at the end of each second.
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
        self.account = Account(machine_id(), settings.namespace)
        self.rng = random.Random()
        self.rate_factor = 1.0  # the ramp turns this
        self.expected = 0  # clients that want to be connected
        self.hushed = False
        self.ended = Event()  # the run is judged; what happens from now on does not count
        self.users: list[Any] = []  # those who take part in a storm
        self._slots = self._count(index, max(workers, 1))
        self._clock_agreed = Event()
        self._on_second = on_second or (lambda row: None)
        self._greenlets: list[Any] = []
        self._load = Load()
        if not several_machines:
            self._clock_agreed.set()

    def start(self) -> None:
        self._greenlets = [gevent.spawn(watch_lag, self.account.lag), gevent.spawn(self._seconds)]

    def stop(self) -> None:
        self.ended.set()
        gevent.killall(self._greenlets, block=False)

    def next_slot(self) -> int:
        """A number that no other user of any worker has. All numbers together count up from 0."""
        return next(self._slots)

    def transport(self) -> str:
        """A transport, drawn by weight."""
        names, weights = zip(*self.settings.transports, strict=True)
        return str(self.rng.choices(names, weights)[0])

    def await_clock(self) -> None:
        """Blocks until the machines agree on the time, CLOCK_S at most. Publishers call it before they begin."""
        self._clock_agreed.wait(CLOCK_S)

    def agree(self, shift_us: int) -> None:
        """This machine's clock is `shift_us` behind the clock that all agree on."""
        self.account.shift(shift_us)
        self._clock_agreed.set()

    def every(self, pause_s: float, act: Callable[[], None]) -> None:
        """Calls `act` every `pause_s` until publishing ends."""

        def run() -> None:
            while True:
                gevent.sleep(pause_s)
                if self.hushed:
                    return
                act()

        self._greenlets.append(gevent.spawn(run))

    def hush(self) -> None:
        """Ends publishing. Returns when all acks are in and all clients are connected, after ACKS_S at most."""
        self.hushed = True
        account = self.account
        self._until(lambda: not account.waiting.total() and account.clients >= self.expected, ACKS_S)

    def close(self) -> Final:
        """Waits for what is under way, then ends the account. To be called after `hush`."""
        self._drain()
        self.account.close_second(self.account.clock.now_us() // 1_000_000, self._load.cpu_percent())
        return self.account.final()

    def _drain(self) -> None:
        """Returns when nothing was delivered for QUIET_S, after the option `--drain` at most."""
        last = (-1, 0.0)

        def is_quiet() -> bool:
            nonlocal last
            heard = self.account.heard()
            if heard != last[0]:
                last = (heard, time.monotonic())
            return time.monotonic() - last[1] >= QUIET_S

        self._until(is_quiet, self.settings.drain_s)
        self.account.absent = max(0, self.expected - self.account.clients)

    def _until(self, is_so: Callable[[], bool], limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while not is_so() and time.monotonic() < end:
            gevent.sleep(LOOK_S)

    def _seconds(self) -> None:
        """Closes each second of the common clock when it ends."""
        while True:
            now_s = self.account.clock.now_us() / 1e6
            at = int(now_s)
            gevent.sleep(at + 1 - now_s)
            self._on_second(self.account.close_second(at, self._load.cpu_percent()))

    @staticmethod
    def _count(index: int, step: int) -> Iterator[int]:
        while True:
            yield index
            index += step


_session: Session | None = None


def current() -> Session:
    """The session of this process. Raises RuntimeError outside of a run: the locustfile must call `install` first."""
    if _session is None:
        raise RuntimeError("no load test runs: call loadtest.scenarios.install() in the locustfile")
    return _session


def is_running() -> bool:
    """Whether there is a run that is not judged yet."""
    return _session is not None and not _session.ended.is_set()


def begin(session: Session) -> None:
    """Makes this the session of the process. An earlier one ends."""
    global _session
    end()
    _session = session
    session.start()


def end() -> None:
    """Ends the session. Users may still write into its account while they are stopped, but nobody reads it."""
    if _session is not None:
        _session.stop()
