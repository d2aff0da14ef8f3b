"""Parts of the scenarios without a server and in no time, in a process of its own: locust patches whichever loads it.

    python -m loadtest.tests.scenarios.parts lag|ramp

The ramp's `gevent.sleep` passes seconds in which 20 clients get what two publishers say to two rooms of ten. Its second
step goes wrong in one way: `WRONG` is nothing, warm-up (a gap in its first second), cut (of one, who is back at once),
away (somebody) or silence (one in twenty deliveries is missing, with no gap seen). The outcome is a line of JSON.
"""

import json
import sys
from typing import Any

import gevent
from loadtest.ledger.histogram import Histogram
from loadtest.ledger.report import Beat, SecondRow
from loadtest.ledger.run import Run
from loadtest.scenarios.machine import note
from loadtest.scenarios.options import Settings
from loadtest.scenarios.ramp import Ramp

USERS = 20


class Seconds:
    """Stands in for the time, the publishers and the server."""

    def __init__(self, wrong: str) -> None:
        self.run = Run()
        self.rate = 0.0
        self._wrong = wrong
        self._at = 1000
        self._left = 0.0
        self._row = SecondRow(0, clients=USERS)

    def set_rate(self, factor: float) -> None:
        self.rate = factor * 20

    def sleep(self, seconds: float) -> None:
        self._left += seconds
        while self._left >= 1:
            self._left -= 1
            self._pass()

    def _pass(self) -> None:
        wrong = self._wrong if self.rate > 100 else ""
        self._row.gaps += wrong == "warm-up" and not self._row.gaps
        self._row.disconnects += wrong == "cut" and not self._row.disconnects
        self._row.clients = USERS - (wrong == "away")
        came = round(self.rate * 10 * (0.95 if wrong == "silence" else 1))
        row = SecondRow(self._at, round(self.rate), 0, self._row.clients, self._row.gaps, self._row.disconnects)
        row.latencies = {"websocket": {100: came}}
        self.run.beat("a", Beat([row], "machine", 0, 0))
        self._at += 1


def ramp(wrong: str) -> Any:
    time = Seconds(wrong)
    gevent.sleep = time.sleep
    settings = Settings(room_sizes=(10,), ramp_start=100, ramp_factor=2, ramp_steps=2)
    climbing = Ramp(settings, time.run, time.set_rate)
    climbing.climb(lambda: True, lambda: USERS)
    return [[step.held, step.why] for step in climbing.knee().steps]


def lag() -> Any:
    """Of 100 s in which the loop stood still for 2 s, once."""
    histogram = Histogram()
    for _ in range(98 * 20):
        note(histogram, 0.0)
    note(histogram, 2.0)
    return [histogram.quantiles().count, histogram.quantiles().p99_ms]


if __name__ == "__main__":
    print(json.dumps(lag() if sys.argv[1] == "lag" else ramp(sys.argv[2])))
