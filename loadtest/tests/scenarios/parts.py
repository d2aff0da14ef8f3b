"""Parts of the scenarios, without a server and without waiting. In a process of its own, because locust patches it.

    python -m loadtest.tests.scenarios.parts WRONG...

`gevent.sleep` is replaced: each second that passes in it, 20 clients get what two publishers send to two rooms of ten.
The second step of the ramp goes wrong: nothing, warm-up (a gap in its first second), cut (one client loses its
connection and is back at once), away (one client is away) or silence (one of twenty deliveries is missing, but no gap
is seen). It prints all outcomes as JSON, how a stall of the loop is counted, what an early start leads to, and which
failed attempts count.
"""

import json
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any

import gevent
from loadtest.accounting.histogram import Histogram
from loadtest.accounting.run import Run
from loadtest.accounting.worker_report import Beat, SecondRow
from loadtest.browser.options import ConnectFailed
from loadtest.scenarios import session, wiring
from loadtest.scenarios.browser_user import BrowserUser
from loadtest.scenarios.machine import note
from loadtest.scenarios.options import Settings, add_arguments
from loadtest.scenarios.ramp import Ramp
from locust import argument_parser

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

    def sleep(self, seconds: float = 0.0) -> None:
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
    """100 s in which the loop stood still once, for 2 s."""
    histogram = Histogram()
    for _ in range(98 * 20):
        note(histogram, 0.0)
    note(histogram, 2.0)
    return [histogram.quantiles().count, histogram.quantiles().p99_ms]


def early() -> Any:
    """A worker is told to start while it still connects, before locust's `init`. Whether it takes part."""
    parser = argument_parser.get_empty_argument_parser()
    argument_parser.setup_parser_arguments(parser)
    add_arguments(parser)
    environment: Any = SimpleNamespace(events=SimpleNamespace(), parsed_options=parser.parse_args([]))
    wiring.start_before_init(environment)
    takes_part = session.current().takes_part
    session.end()
    return takes_part


def attempts() -> Any:
    """One that the scenario cut off, and one that failed by itself. Those that are counted."""
    user: Any = BrowserUser.__new__(BrowserUser)
    counts: Counter[str] = Counter()
    user.session = SimpleNamespace(account=SimpleNamespace(failed=counts))
    user._request = lambda *_, **__: None
    user.browser = SimpleNamespace(drop=lambda: user._connect_failed(user.browser, ConnectFailed("connect", "cut off")))
    user.drop()
    user._connect_failed(user.browser, ConnectFailed("connect", "refused"))
    return counts


if __name__ == "__main__":
    print(
        json.dumps(
            {"early": early(), "lag": lag(), "attempts": attempts()} | {wrong: ramp(wrong) for wrong in sys.argv[1:]}
        )
    )
