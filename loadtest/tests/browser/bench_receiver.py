"""The receiving process of the benchmark: one locust process full of users of one kind.

    python -m loadtest.tests.browser.bench_receiver KIND URL CLIENTS SPAWN_RATE CONTROL_PORT

Over the control connection it says that it is ready and is told to start. Then it connects its clients, and writes one
byte after every CLIENTS deliveries, so that the sender knows that a round is over. It ends when that connection ends.
"""

import os
import random
import socket
import sys
from collections.abc import Callable
from typing import Any

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402
from loadtest.accounting.account import Account  # noqa: E402
from loadtest.browser import Browser, BrowserOptions  # noqa: E402
from locust import User, task  # noqa: E402
from locust.contrib.socketio import SocketIOUser  # noqa: E402
from locust.env import Environment  # noqa: E402

CONNECT_TIMEOUT_S = 120.0


class Tally:
    """Counts the deliveries of all users, so that the sender knows when a round is over."""

    def __init__(self, clients: int, round_is_over: Callable[[], None]) -> None:
        self._clients = clients
        self._left = clients
        self._round_is_over = round_is_over

    def take(self) -> None:
        self._left -= 1
        if not self._left:
            self._left = self._clients
            self._round_is_over()


def simulated_browser(tally: Tally) -> type[Any]:
    """Ours. As in a scenario, each message is accounted."""
    account = Account("bench", "/")

    class Simulated(User):
        def on_start(self) -> None:
            member = account.member(0)

            def heard(_: Browser, packet: bytes) -> None:
                member.heard(packet)
                tally.take()

            options = BrowserOptions(transport="websocket", namespace="/", reconnection=False)
            self.browser = Browser(str(self.host), options, rng=random.Random())
            self.browser.on_event = heard
            self.browser.connect(CONNECT_TIMEOUT_S)

        @task
        def idle(self) -> None:
            gevent.sleep(3600)

    return Simulated


def locust_user(tally: Tally) -> type[Any]:
    """Locust's own: python-socketio in greenlets. It fires a request event for each message by itself."""

    class Own(SocketIOUser):
        options = {"reconnection": False}

        def on_start(self) -> None:
            self.sio.on("d", self.received)
            connect: Any = self.sio.connect
            connect(self.host, transports=["websocket"], wait_timeout=CONNECT_TIMEOUT_S)

        def received(self, data: str) -> None:
            self.sio.on_message("d", data)
            tally.take()

        @task
        def idle(self) -> None:
            gevent.sleep(3600)

    return Own


KINDS = {"browser": simulated_browser, "locust": locust_user}


def main() -> None:
    kind, url, clients, spawn_rate, control_port = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    control = socket.create_connection(("127.0.0.1", control_port))
    tally = Tally(clients, lambda: control.sendall(b"."))
    user_class = KINDS[kind](tally)
    user_class.host = url
    environment = Environment(user_classes=[user_class])
    runner = environment.create_local_runner()
    control.sendall(b"R")
    if control.recv(1):
        runner.start(clients, spawn_rate=spawn_rate)
        control.recv(1)
    os._exit(0)  # thousands of connections need no goodbye


if __name__ == "__main__":
    main()
