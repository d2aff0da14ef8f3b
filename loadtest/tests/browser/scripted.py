"""A browser that takes given steps: `python -m loadtest.tests.browser.scripted JSON`. It prints its story as JSON.

gevent runs in this process alone, so that the tests can use asyncio. scripted.mjs takes the same steps with the
official client.
"""

import json
import random
import sys
from typing import Any

from gevent import monkey

monkey.patch_all()  # as locust does

import ssl  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from loadtest.browser import Browser, BrowserError, BrowserOptions, ConnectFailed, ConnectTimes  # noqa: E402

LIMIT_S = 10.0


class Story:
    """What happened to one browser, and the steps that make it happen."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        authority = options.pop("tls_authority", None)
        tls = ssl.create_default_context(cafile=authority) if authority else None
        self.browser = Browser(url, BrowserOptions(**options, tls=tls), rng=random.Random(7))
        self.browser.on_event = self._event
        self.browser.on_connect = self._connect
        self.browser.on_disconnect = self._disconnect
        self.browser.on_connect_error = self._connect_error
        self.told: dict[str, list[Any]] = {
            name: [] for name in ("events", "connects", "disconnects", "errors", "acks", "transports", "raised")
        }
        self._moved = Event()

    def step(self, name: str, *args: Any) -> None:
        match name:
            case "connect":
                self.browser.connect(*args or (LIMIT_S,))
                self.told["transports"].append(self.browser.transport)
            case "emit":
                self.browser.emit(*args)
            case "emit_many":
                for number in range(args[1]):
                    self.browser.emit(args[0], number, "x" * args[2])
            case "connect_emitting":
                self._connect_emitting(args[0])
            case "call":
                self.told["acks"].append(self.browser.call(*args, timeout_s=LIMIT_S))
            case "call_briefly":
                self.browser.call(*args, timeout_s=0.1)
            case "await":
                self._until(lambda: len(self.told[args[0]]) >= args[1], f"{args[1]} {args[0]}")
            case "tell":
                self.told["acks"].append(len(self.told[args[0]]))
            case "pause":
                gevent.sleep(args[0])
            case "close" | "vanish" | "drop" | "pause_reading" | "resume_reading":
                getattr(self.browser, name)()
            case _:
                raise ValueError(name)

    def _until(self, condition: Any, what: str) -> None:
        with gevent.Timeout(LIMIT_S, AssertionError(f"no {what}: {self.told}")):
            while not condition():
                self._moved.clear()
                self._moved.wait()

    def _connect_emitting(self, name: str) -> None:
        """Emits numbers from the moment it is in the namespace until a little after the upgrade."""
        connecting = gevent.spawn(self.browser.connect, LIMIT_S)
        sent = later = 0
        while later < 5:
            if self.browser.connected:
                self.browser.emit(name, sent)
                sent += 1
            later += connecting.ready()
            gevent.sleep(0.002)
        self.told["transports"].append(self.browser.transport)
        self.told["acks"].append(sent)

    def _event(self, _: Browser, packet: bytes) -> None:
        self.told["events"].append(packet.decode() if len(packet) < 500 else len(packet))
        self._moved.set()
        if packet.endswith(b'"fail"]'):
            raise RuntimeError("a callback of the test fails on purpose")

    def _connect(self, browser: Browser, times: ConnectTimes) -> None:
        self.told["connects"].append(
            {
                "handshake_s": times.handshake_s,
                "upgrade_s": times.upgrade_s,
                "connect_s": times.connect_s,
                "total_s": times.total_s,
                "reconnect": times.reconnect,
                "sid": browser.sid,
                "engine_sid": browser.engine_sid,
            }
        )
        self._moved.set()

    def _disconnect(self, _: Browser, reason: str) -> None:
        self.told["disconnects"].append(reason)
        self._moved.set()

    def _connect_error(self, _: Browser, failed: ConnectFailed) -> None:
        self.told["errors"].append([failed.phase, failed.why])
        self._moved.set()


def main() -> None:
    task = json.loads(sys.argv[1])
    story = Story(task["url"], task["options"])
    for step in task["steps"]:
        try:
            story.step(*step)
        except BrowserError as error:
            story.told["raised"].append([type(error).__name__, str(error)])
    gevent.sleep(0.2)  # let a goodbye reach the server
    browser = story.browser
    counted = {
        name: getattr(browser, name)
        for name in (
            *("connected", "is_active", "bytes_received", "bytes_sent", "frames_received"),
            *("binary_events", "acks_given_up"),
        )
    }
    print(json.dumps(story.told | counted))


if __name__ == "__main__":
    main()
