"""A worker's part of a run: one of several processes that have users."""

from typing import Any

import structlog

from loadtest.accounting import worker_report
from loadtest.scenarios import session, statistics
from loadtest.scenarios.machine import machine_id
from loadtest.scenarios.options import settings
from loadtest.scenarios.session import Session

log = structlog.get_logger()

PLAN, CLOCK, RATE = "loadtest-plan", "loadtest-clock", "loadtest-rate"
HUSH, HUSHED, CLOSE, FINAL = "loadtest-hush", "loadtest-hushed", "loadtest-close", "loadtest-final"
KEY = "loadtest"  # of our part in locust's report


class Worker:
    """Takes orders from the leader, reports to it each second, and sends its final report."""

    def __init__(self, environment: Any, runner: Any) -> None:
        self._environment = environment
        self._runner = runner
        self._plan: dict[str, Any] | None = None  # of the run that is about to start
        environment.events.test_start.add_listener(self._start)
        environment.events.report_to_master.add_listener(self._report)
        runner.register_message(PLAN, lambda msg, **_: self._planned(msg.data))
        runner.register_message(CLOCK, lambda msg, **_: self._agree(msg.data))
        runner.register_message(RATE, lambda msg, **_: self._set_rate(msg.data))
        runner.register_message(HUSH, lambda **_: self._hush(), concurrent=True)
        runner.register_message(CLOSE, lambda **_: self._close(), concurrent=True)

    def _planned(self, plan: dict[str, Any]) -> None:
        self._plan = plan

    def _start(self, **_: Any) -> None:
        plan, self._plan = self._plan, None
        begin(self._environment, plan)

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        running = session.is_running()
        beat = session.current().account.take_beat() if running else worker_report.Beat([], machine_id(), None, 0)
        data[KEY] = worker_report.encode(beat)

    def _agree(self, shifts: dict[str, int]) -> None:
        own = session.current()
        own.agree(shifts.get(own.account.machine, 0))

    def _set_rate(self, factor: float) -> None:
        session.current().rate_factor = factor

    def _hush(self) -> None:
        session.current().hush()
        self._runner.send_message(HUSHED, None)

    def _close(self) -> None:
        self._runner.send_message(FINAL, worker_report.encode(session.current().close()))
        session.end()


def begin(environment: Any, plan: dict[str, Any] | None) -> None:
    """Begins this worker's session. `plan` None: it came after the run had begun, and takes no part."""
    if plan is None:
        log.warning("loadtest_without_a_plan", why="this worker came after the run had begun, so it takes no part")
    own = Session(
        settings(environment.parsed_options),
        **(plan or {"takes_part": False}),
        on_second=lambda row: statistics.tell(environment, row),
    )
    session.begin(own)
