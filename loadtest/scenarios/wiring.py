"""Connects a run to locust: the events of locust that it listens to, and the messages between master and workers.

    test_start      master: plan -> workers. Each process that has users begins a session
    each second     worker -> master, within locust's own report: what happened in that second
    clock           master -> workers, once, if there are several machines
    rate            master -> workers, in the scenario ramp
    test_stopping   master: hush -> workers, which answer hushed; then close -> workers, which answer final.
                    The master writes the result

A single process does both parts itself. Users are stopped afterwards; what they do then is not part of the result.
"""

import signal
from typing import Any

import gevent
import locust
from locust import runners
from locust.event import EventHook

from loadtest.scenarios import metrics_port, web_tab
from loadtest.scenarios.leader import Leader
from loadtest.scenarios.options import add_arguments
from loadtest.scenarios.worker import Worker, begin

REPORT_EVERY_S = 1.0

_installed = False


def install() -> None:
    """Adds the options, the measurement and the tab to locust. Call it once, at the top of a locustfile."""
    global _installed
    if _installed:
        return
    _installed = True
    runners.WORKER_REPORT_INTERVAL = REPORT_EVERY_S  # so that the live figures are of the last second
    locust.events.init_command_line_parser.add_listener(lambda parser, **_: add_arguments(parser))
    locust.events.init.add_listener(_init)
    locust.events.test_start.add_listener(start_before_init)


def start_before_init(environment: Any, **_: Any) -> None:
    """A worker that joins a running test may hear of its start while it still connects, which is before `init`."""
    if not hasattr(environment.events, "delivery"):
        environment.events.delivery = EventHook()
        begin(environment, None)


def _init(environment: Any, runner: Any, **_: Any) -> None:
    if not hasattr(environment.events, "delivery"):
        environment.events.delivery = EventHook()
    main = gevent.getcurrent()
    interrupt = gevent.get_hub().loop.run_callback
    # Python would raise KeyboardInterrupt in whichever greenlet runs, perhaps in the middle of a packet. Locust waits
    # for it in the main greenlet.
    gevent.signal_handler(signal.SIGINT, interrupt, main.throw, KeyboardInterrupt)
    if isinstance(runner, runners.WorkerRunner):
        Worker(environment, runner)
    else:
        leader = Leader(environment, runner)
        web_tab.add(environment, leader.snapshot)
        metrics_port.serve(environment, leader.snapshot)
