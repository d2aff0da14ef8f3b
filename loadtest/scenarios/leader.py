"""The leader's part of a run: the master, or the only process. It starts the run, judges it, and writes its result."""

import os
import secrets
import time
from pathlib import Path
from typing import Any

import gevent
import structlog
from gevent.event import Event
from locust import runners

from loadtest.accounting import result, worker_report
from loadtest.accounting.run import Run
from loadtest.scenarios import session, statistics
from loadtest.scenarios.options import Settings, asked_for, settings
from loadtest.scenarios.ramp import Ramp, RampShape
from loadtest.scenarios.session import ACKS_S, Session
from loadtest.scenarios.worker import CLOCK, CLOSE, FINAL, HUSH, HUSHED, KEY, PLAN, RATE

log = structlog.get_logger()

LOCAL = "local"
CLOCK_AFTER_S = 2.0
FINAL_S = 20.0


class Leader:
    """Listens to locust's events from its construction on."""

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
        self._workers: list[str] = []  # those that have the plan of this run
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
            runner.register_message(HUSHED, lambda msg, **_: self._hear_hushed(msg.node_id))
            runner.register_message(FINAL, lambda msg, **_: self._hear_final(msg.node_id, msg.data))

    def snapshot(self) -> result.Snapshot:
        """The last second of the present or the last run; zeros before the first."""
        return self._run.snapshot(self._began)

    def _start(self, **_: Any) -> None:
        self._settings = settings(self._environment.parsed_options)
        self._run = Run(self._settings.generator_limits)
        self._began = int(time.time())
        self._hushed.clear()
        self._is_on = True
        run_id = secrets.token_hex(4)
        if self._is_master:
            self._start_workers(run_id)
        else:
            session.begin(Session(self._settings, run_id=run_id, on_second=self._local_second))
        if any(users.scenario == "ramp" for users in self._users):
            self._ramp = Ramp(self._settings, self._run, self._set_rate)
            self._greenlets.append(gevent.spawn(self._climb, self._ramp))

    def _start_workers(self, run_id: str) -> None:
        clients = self._runner.clients
        self._workers = [worker.id for worker in (*clients.ready, *clients.running, *clients.spawning)]
        several = len({self._machines.get(worker, "") for worker in self._workers}) > 1
        plan = {"workers": len(self._workers), "several_machines": several, "run_id": run_id}
        for index, worker in enumerate(self._workers):
            self._run.expect(worker, self._machines.get(worker, ""))
            self._runner.send_message(PLAN, plan | {"index": index}, worker)
        self._greenlets = [gevent.spawn(self._agree_on_time)] if several else []
        self._greenlets.append(gevent.spawn(self._show))

    def _local_second(self, row: worker_report.SecondRow) -> None:
        statistics.tell(self._environment, row)
        self._run.beat(LOCAL, session.current().account.take_beat())
        print(self.snapshot().line(), flush=True)

    def _show(self) -> None:
        while True:
            gevent.sleep(1.0)
            print(self.snapshot().line(), flush=True)

    def _beat(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if KEY not in data:
            return
        beat = worker_report.decode_beat(data[KEY])
        self._machines[client_id] = beat.machine
        if client_id in self._workers:
            self._run.beat(client_id, beat)
        elif self._is_on:
            self._run.came_late(client_id)

    def _agree_on_time(self) -> None:
        """Tells each machine how far its clock is off, once, as soon as all of them know."""
        gevent.sleep(CLOCK_AFTER_S)
        while set(offsets := self._run.offsets()) != self._run.machines():
            gevent.sleep(0.2)
        shifts = {machine: offset for machine, (offset, _) in offsets.items()}
        self._runner.send_message(CLOCK, shifts)
        log.info("loadtest_clocks_agreed", shifts_us=shifts)

    def _set_rate(self, factor: float) -> None:
        if self._is_master:
            self._runner.send_message(RATE, factor)
        else:
            session.current().rate_factor = factor

    def _climb(self, ramp: Ramp) -> None:
        def is_full() -> bool:
            users = self._runner.target_user_count
            return bool(users and self.snapshot().clients >= users)

        ramp.climb(is_full, lambda: self._runner.target_user_count)
        if self._environment.shape_class is None:
            gevent.spawn(self._runner.stop)

    def _hear_hushed(self, worker: str) -> None:
        self._hushed.add(worker)
        self._told.set()

    def _hear_final(self, worker: str, data: bytes) -> None:
        self._run.final(worker, worker_report.decode_final(data))
        self._told.set()

    def _finish(self, **_: Any) -> None:
        """Ends the run. Locust stops the users only after that: they must stay until all reports are in."""
        if not self._is_on:
            return
        self._is_on = False
        ended_at = time.time()
        gevent.killall(self._greenlets, block=False)
        if self._is_master:
            self._finish_workers()
        else:
            own = session.current()
            own.hush()
            self._run.final(LOCAL, own.close())
            session.end()
        self._write(ended_at)

    def _finish_workers(self) -> None:
        workers = [worker for worker in self._workers if worker in self._runner.clients]
        for worker in workers:
            self._runner.send_message(HUSH, None, worker)
        self._await(lambda: self._hushed >= set(workers), ACKS_S + 5.0)
        for worker in workers:
            self._runner.send_message(CLOSE, None, worker)
        self._await(lambda: all(map(self._run.has_final, workers)), self._settings.drain_s + FINAL_S)

    def _await(self, is_so: Any, limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while not is_so() and (left_s := end - time.monotonic()) > 0:
            self._told.clear()
            self._told.wait(left_s)

    def _write(self, ended_at: float) -> None:
        done = self._run.result(
            self._settings.scenario if self._users else ",".join(c.__name__ for c in self._environment.user_classes),
            asked_for(self._environment.parsed_options) | {"scenario": self._settings.scenario},
            self._began,
            ended_at - self._began,
            losses_allowed=any(users.losses_allowed for users in self._environment.user_classes),
            knee=self._ramp.knee() if self._ramp else None,
        )
        if path := os.environ.get("LOADTEST_RESULT"):
            Path(path).write_bytes(result.encode(done))


def _choose(environment: Any, scenario: str) -> list[Any]:
    """Of a locustfile with our scenarios, keeps only the users of this one. Other locustfiles stay as they are."""
    chosen = [users for users in environment.user_classes if getattr(users, "scenario", None) == scenario]
    if chosen:
        environment.user_classes[:] = chosen
    return chosen
