"""How much the clients of a scenario send: as much as leaves the machine room to work off what gathers during a fault.

Limits of time say how long clients wait for a cluster that has processors. Where all processors are busy before the
fault already, clients wait for the machine. So each scenario measures how fast it is at that hour, just before.
"""

import os
import time
from collections.abc import Mapping

import psutil

FULL_CORE_S = 1.5
"""What a second of one scenario at full pace takes, of a processor that makes REFERENCE steps a second, all its
processes together. Measured: 1.46."""
REFERENCE = 20e6
SHARE = 0.65
"""So much of the processors the scenarios that run at a time may take."""
AT_EASE_S = 0.2
"""Where a tenth of the clients wait longer than this before any fault, the pace is still too high."""
LEAST = 0.15
"""Below this the clients would try nothing."""
WANTED = ("user", "nice", "system", "irq", "softirq", "steal")
ENOUGH_S = 5.0
"""What was stolen in less says nothing."""
_STEPS = 1_000_000


def pace(processors: float, speed: float) -> float:
    """The part of the full rate that this machine bears. `processors`: how many the scenario has; `speed`: see
    `speed_now`. Between LEAST and 1."""
    return min(1.0, max(LEAST, SHARE * processors * speed / REFERENCE / FULL_CORE_S))


def pace_now() -> float:
    """That of this process, which shares the processors with pytest-xdist's other workers. CHAOS_PACE overrules it."""
    if given := os.environ.get("CHAOS_PACE"):
        return float(given)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return pace((os.cpu_count() or 1) * (1 - stolen(_AT_FIRST, _times())) / workers, speed_now())


def stolen(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """The part of the processors' time that a virtual machine wanted meanwhile and did not get.

    `before`, `now`: seconds of all processors together since the start, by what they did, as psutil has them.
    """
    spent = {kind: now.get(kind, 0.0) - before.get(kind, 0.0) for kind in WANTED}
    wanted = sum(spent.values())
    return spent["steal"] / wanted if wanted >= ENOUGH_S else 0.0


def _times() -> dict[str, float]:
    times: dict[str, float] = psutil.cpu_times()._asdict()
    return times


def speed_now() -> float:
    """Steps of a plain loop that a processor makes in a second of its time. A second process on the same core slows
    it down, so it differs from hour to hour on a machine that others use too."""
    began = time.thread_time()
    total = 0
    for step in range(_STEPS):
        total += step
    return _STEPS / (time.thread_time() - began)


_AT_FIRST = _times()
