"""A locustfile with the tab, and with figures of its own instead of a run's."""

from itertools import count

from loadtest.ledger import live
from loadtest.runner import tab
from locust import User, events, task

_seconds = count(1)
tab.EVERY_S = 0.05
live.snapshot = lambda: live.Snapshot(next(_seconds), 100, 20, 4321, 2_500_000, 1.5, 3.0, 8.0, 2)
events.init.add_listener(tab.add)


class Idle(User):
    @task
    def rest(self) -> None:
        self._sleep(0.1)
