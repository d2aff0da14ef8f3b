"""Scenarios in which clients come and go, lose their connection, or do not read: churn, reconnect-storm,
slow-consumers."""

import gevent
from locust import tag, task

from loadtest.scenarios.browser_user import IDLE_S, BrowserUser

LOOK_S = 0.2


class ChurnUser(BrowserUser):
    """Publishers stay. All others connect, stay for some seconds, leave, and come back as new clients."""

    scenario = "churn"

    def on_start(self) -> None:
        if self.seat.rate:
            self.take_seat()

    def wait_time(self) -> float:
        return self.pace_of_seat() if self.seat.rate else self.session.rng.random()

    @tag("churn")
    @task
    def visit(self) -> None:
        if self.seat.rate:
            self.talk_from_seat()
        elif self.session.hushed:
            gevent.sleep(LOOK_S)
        else:
            self._visit()

    def _visit(self) -> None:
        self.take_seat()
        end = self.session.settings.stay_s * (0.5 + self.session.rng.random())
        self.session.ended.wait(end)
        if self.session.hushed:  # the run is about to be judged: stay until it is
            self.session.ended.wait(IDLE_S)
        self.disconnect()
        self.rooms.clear()
        self.browser = self.new_browser()


class ReconnectStormUser(BrowserUser):
    """As fanout, but now and then all users lose their transport at the same moment, and reconnect."""

    scenario = "reconnect-storm"

    def on_start(self) -> None:
        self.take_seat()
        users = self.session.users
        users.append(self)
        if len(users) == 1:
            self.session.every(self.session.settings.storm_every_s, self._storm)

    def on_stop(self) -> None:
        if self in self.session.users:
            self.session.users.remove(self)
        super().on_stop()

    def wait_time(self) -> float:
        return self.pace_of_seat()

    @tag("reconnect-storm")
    @task
    def talk(self) -> None:
        self.talk_from_seat()

    def _storm(self) -> None:
        for user in list(self.session.users):
            user.drop()


class SlowConsumersUser(BrowserUser):
    """As fanout, but some users never read. The server may close them. Nobody else may lose anything."""

    scenario = "slow-consumers"

    def on_start(self) -> None:
        self.take_seat()
        if self._is_slow:
            self.member.excuse()
            self.browser.pause_reading()

    def wait_time(self) -> float:
        return self.pace_of_seat()

    @tag("slow-consumers")
    @task
    def talk(self) -> None:
        self.talk_from_seat()

    @property
    def _is_slow(self) -> bool:
        """One of every 10 users, for example, if `--slow-share` is 0.1. Publishers always read."""
        share = self.session.settings.slow_share
        every = max(1, round(1 / share)) if share else 0
        return every > 0 and not self.seat.rate and self.number % every == every - 1
