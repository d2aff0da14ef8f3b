"""How a run hangs together in locust: the events that it listens to, the messages between master and workers.

    test_start      master: plan -> workers; each process that has users begins a session
    each second     worker -> master, in locust's own report: what happened
    clock           master -> workers, once, where there are several machines
    rate            master -> workers: the ramp
    test_stopping   master: hush -> workers (hushed), close -> workers (final); then the result is written

Without workers the same happens in the one process. Users that locust stops afterwards are no part of the result.
"""

import os
import secrets
import signal
import time
from pathlib import Path
from typing import Any

import gevent
import locust
import structlog
from gevent.event import Event
from locust import runners
from locust.event import EventHook

from loadtest.ledger import live, report, result
from loadtest.ledger.run import Run
from loadtest.runner import tab
from loadtest.scenarios import current, statistics
from loadtest.scenarios.machine import machine_id
from loadtest.scenarios.options import Settings, add_arguments, settings, told
from loadtest.scenarios.ramp import Ramp, RampShape
from loadtest.scenarios.session import ACKS_S, Session

log = structlog.get_logger()

LOCAL = "local"
REPORT_EVERY_S = 1.0
CLOCK_AFTER_S = 2.0
FINAL_S = 20.0

_PLAN, _CLOCK, _RATE = "loadtest-plan", "loadtest-clock", "loadtest-rate"
_HUSH, _HUSHED, _CLOSE, _FINAL = "loadtest-hush", "loadtest-hushed", "loadtest-close", "loadtest-final"
_KEY = "loadtest"

_installed = False


def install() -> None:
    """To be called once, at the top of a locustfile."""
    global _installed
    if _installed:
        return
    _installed = True
    runners.WORKER_REPORT_INTERVAL = REPORT_EVERY_S  # so that the live figures are of the last second
    locust.events.init_command_line_parser.add_listener(lambda parser, **_: add_arguments(parser))
    locust.events.init.add_listener(_init)
    locust.events.init.add_listener(tab.add)


def _init(environment: Any, runner: Any, **_: Any) -> None:
    environment.events.delivery = EventHook()
    main = gevent.getcurrent()
    interrupt = gevent.get_hub().loop.run_callback
    # Python would raise it in whichever greenlet runs, in the midst of a packet; locust waits for it in the main one.
    gevent.signal_handler(signal.SIGINT, interrupt, main.throw, KeyboardInterrupt)
    if isinstance(runner, runners.WorkerRunner):
        _Worker(environment, runner)
    else:
        _Leader(environment, runner)


class _Worker:
    """One of several processes that have users."""

    def __init__(self, environment: Any, runner: Any) -> None:
        self._environment = environment
        self._runner = runner
        self._plan: dict[str, Any] | None = None  # of the run that is about to start
        environment.events.test_start.add_listener(self._start)
        environment.events.report_to_master.add_listener(self._report)
        runner.register_message(_PLAN, lambda msg, **_: self._planned(msg.data))
        runner.register_message(_CLOCK, lambda msg, **_: self._agree(msg.data))
        runner.register_message(_RATE, lambda msg, **_: self._set_rate(msg.data))
        runner.register_message(_HUSH, lambda **_: self._hush(), concurrent=True)
        runner.register_message(_CLOSE, lambda **_: self._close(), concurrent=True)

    def _planned(self, plan: dict[str, Any]) -> None:
        self._plan = plan

    def _start(self, **_: Any) -> None:
        plan, self._plan = self._plan, None
        if plan is None:
            log.warning("loadtest_without_a_plan", why="this worker came while the run was on: it takes no part")
        session = Session(
            settings(self._environment.parsed_options),
            **(plan or {"takes_part": False}),
            on_second=lambda row: statistics.tell(self._environment, row),
        )
        current.begin(session)

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        ledger = current.session().ledger if current.is_running() else None
        if ledger is None:
            data[_KEY] = report.encode(report.Beat([], machine_id(), None, 0))
        else:
            offset = ledger.offset
            data[_KEY] = report.encode(
                report.Beat(ledger.take_seconds(), ledger.machine, offset.offset_us, offset.error_us)
            )

    def _agree(self, shifts: dict[str, int]) -> None:
        session = current.session()
        session.agree(shifts.get(session.ledger.machine, 0))

    def _set_rate(self, factor: float) -> None:
        current.session().rate_factor = factor

    def _hush(self) -> None:
        current.session().hush()
        self._runner.send_message(_HUSHED, None)

    def _close(self) -> None:
        session = current.session()
        session.drain()
        session.close_second()
        self._runner.send_message(_FINAL, report.encode(session.ledger.final()))
        current.end()


class _Leader:
    """The master, or the only process: it starts the run, judges it, and writes its result."""

    def __init__(self, environment: Any, runner: Any) -> None:
        self._environment = environment
        self._runner = runner
        self._is_master = isinstance(runner, runners.MasterRunner)
        self._users = _choose(environment, settings(environment.parsed_options).scenario)
        self._run = Run()
        self._settings = Settings()
        self._began = 0
        self._is_on = False
        self._hushed: set[str] = set()
        self._workers: list[str] = []  # those that have this run's plan
        self._told = Event()
        self._machines: dict[str, str] = {}
        self._ramp: Ramp | None = None
        self._greenlets: list[Any] = []
        if any(users.scenario == "ramp" for users in self._users):
            environment.shape_class = RampShape(environment, lambda: self._ramp)
        environment.events.test_start.add_listener(self._start)
        environment.events.test_stopping.add_listener(self._finish)
        if self._is_master:
            environment.events.worker_report.add_listener(self._beat)
            runner.register_message(_HUSHED, lambda msg, **_: self._hear_hushed(msg.node_id))
            runner.register_message(_FINAL, lambda msg, **_: self._hear_final(msg.node_id, msg.data))

    def _start(self, **_: Any) -> None:
        self._settings = settings(self._environment.parsed_options)
        self._run = Run(self._settings.limits)
        self._began = int(time.time())
        self._hushed.clear()
        self._is_on = True
        run_id = secrets.token_hex(4)
        live.follow(self._run, self._began)
        if self._is_master:
            clients = self._runner.clients
            self._workers = [worker.id for worker in (*clients.ready, *clients.running, *clients.spawning)]
            several = len({self._machines.get(worker, "") for worker in self._workers}) > 1
            plan = {"workers": len(self._workers), "several_machines": several, "run_id": run_id}
            for index, worker in enumerate(self._workers):
                self._run.expect(worker, self._machines.get(worker, ""))
                self._runner.send_message(_PLAN, plan | {"index": index}, worker)
            self._greenlets = [gevent.spawn(self._clock)] if several else []
            self._greenlets.append(gevent.spawn(self._show))
        else:
            current.begin(Session(self._settings, run_id=run_id, on_second=self._local_second))
        if any(users.scenario == "ramp" for users in self._users):
            self._ramp = Ramp(self._settings, self._run, self._set_rate)
            self._greenlets.append(gevent.spawn(self._climb, self._ramp))

    def _local_second(self, row: report.SecondRow) -> None:
        statistics.tell(self._environment, row)
        ledger = current.session().ledger
        offset = ledger.offset
        self._run.beat(LOCAL, report.Beat(ledger.take_seconds(), ledger.machine, offset.offset_us, offset.error_us))
        print(live.line(), flush=True)

    def _show(self) -> None:
        while True:
            gevent.sleep(1.0)
            print(live.line(), flush=True)

    def _beat(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if _KEY not in data:
            return
        beat = report.decode_beat(data[_KEY])
        self._machines[client_id] = beat.machine
        if client_id in self._workers:
            self._run.beat(client_id, beat)
        elif self._is_on:
            self._run.came_late(client_id)

    def _clock(self) -> None:
        """Sets the clocks of all machines, once, as soon as each has found out how far it is off."""
        gevent.sleep(CLOCK_AFTER_S)
        while set(offsets := self._run.offsets()) != self._run.machines():
            gevent.sleep(0.2)
        shifts = {machine: offset for machine, (offset, _) in offsets.items()}
        self._runner.send_message(_CLOCK, shifts)
        log.info("loadtest_clocks_agreed", shifts_us=shifts)

    def _set_rate(self, factor: float) -> None:
        if self._is_master:
            self._runner.send_message(_RATE, factor)
        else:
            current.session().rate_factor = factor

    def _climb(self, ramp: Ramp) -> None:
        def is_full() -> bool:
            users = self._runner.target_user_count
            return bool(users and live.snapshot().clients >= users)

        ramp.climb(is_full, lambda: self._runner.target_user_count)
        if self._environment.shape_class is None:
            gevent.spawn(self._runner.stop)

    def _hear_hushed(self, worker: str) -> None:
        self._hushed.add(worker)
        self._told.set()

    def _hear_final(self, worker: str, data: bytes) -> None:
        self._run.final(worker, report.decode_final(data))
        self._told.set()

    def _finish(self, **_: Any) -> None:
        """Before locust stops the users: their members must be there until everything is in."""
        if not self._is_on:
            return
        self._is_on = False
        ended_at = time.time()
        gevent.killall(self._greenlets, block=False)
        if self._is_master:
            self._finish_workers()
        else:
            session = current.session()
            session.hush()
            session.drain()
            session.close_second()
            self._run.final(LOCAL, session.ledger.final())
            current.end()
        self._write(ended_at)

    def _finish_workers(self) -> None:
        workers = [worker for worker in self._workers if worker in self._runner.clients]
        for worker in workers:
            self._runner.send_message(_HUSH, None, worker)
        self._await(lambda: self._hushed >= set(workers), ACKS_S + 5.0)
        for worker in workers:
            self._runner.send_message(_CLOSE, None, worker)
        self._await(lambda: all(map(self._run.has_final, workers)), self._settings.drain_s + FINAL_S)

    def _await(self, is_so: Any, limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while not is_so() and (left_s := end - time.monotonic()) > 0:
            self._told.clear()
            self._told.wait(left_s)

    def _write(self, ended_at: float) -> None:
        done = self._run.result(
            self._settings.scenario if self._users else ",".join(c.__name__ for c in self._environment.user_classes),
            told(self._environment.parsed_options) | {"scenario": self._settings.scenario},
            self._began,
            ended_at - self._began,
            losses_allowed=any(users.losses_allowed for users in self._environment.user_classes),
            knee=self._ramp.knee() if self._ramp else None,
        )
        if path := os.environ.get("LOADTEST_RESULT"):
            Path(path).write_bytes(result.encode(done))


def _choose(environment: Any, scenario: str) -> list[Any]:
    """Of a locustfile with our scenarios, the users of the one that is asked for. Others stay as they are."""
    chosen = [users for users in environment.user_classes if getattr(users, "scenario", None) == scenario]
    if chosen:
        environment.user_classes[:] = chosen
    return chosen
