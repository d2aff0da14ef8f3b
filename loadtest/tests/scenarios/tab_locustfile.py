"""A locustfile with the tab, which shows fixed figures instead of those of a run."""

import gevent
from loadtest.accounting.result import Snapshot
from loadtest.scenarios import metrics_port, web_tab
from loadtest.scenarios.options import add_arguments
from locust import User, events, task

NOW = Snapshot(1, 100, 20, 4321, 2_500_000, 1.5, 3.0, 8.0, 2)
events.init_command_line_parser.add_listener(lambda parser, **_: add_arguments(parser))
events.init.add_listener(lambda environment, **_: web_tab.add(environment, lambda: NOW))
events.init.add_listener(lambda environment, **_: metrics_port.serve(environment, lambda: NOW))


class Idle(User):
    @task
    def rest(self) -> None:
        gevent.sleep(0.1)
