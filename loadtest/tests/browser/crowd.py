"""A crowd of simulated browsers against a cluster: `python -m loadtest.tests.browser.crowd URL BROWSERS MESSAGES`.

All join one room. Each publishes MESSAGES numbered messages. What each received is printed as JSON.
"""

import json
import random
import sys
from collections import Counter
from typing import Any

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from loadtest.browser import Browser, BrowserOptions  # noqa: E402

KINDS = ("upgrade", "websocket", "polling")
LIMIT_S = 40.0


def main() -> None:
    url, count, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    received: list[list[list[int]]] = [[] for _ in range(count)]
    missing, done = [count * count * messages], Event()

    def listener(number: int) -> Any:
        def take(_: Browser, packet: bytes) -> None:
            publisher, sequence = json.loads(packet.partition(b",")[2])[1].split(":")
            received[number].append([int(publisher), int(sequence)])
            missing[0] -= 1
            if not missing[0]:
                done.set()

        return take

    browsers = []
    for number in range(count):
        options = BrowserOptions(transport=KINDS[number % len(KINDS)])  # type: ignore[arg-type]  # one of them
        browser = Browser(url, options, rng=random.Random(number))
        browser.on_event = listener(number)
        browsers.append(browser)
    gevent.joinall([gevent.spawn(browser.connect, LIMIT_S) for browser in browsers], raise_error=True)
    gevent.joinall([gevent.spawn(browser.call, "join", ["crowd"]) for browser in browsers], raise_error=True)

    def publish(number: int) -> None:
        for sequence in range(messages):
            browsers[number].call("publish", "crowd", f"{number}:{sequence}", timeout_s=LIMIT_S)

    gevent.joinall([gevent.spawn(publish, number) for number in range(count)], raise_error=True)
    done.wait(LIMIT_S)
    told = {
        "received": received,
        "transports": Counter(browser.transport for browser in browsers),
        "nodes": len({browser.engine_sid.partition("-")[0] for browser in browsers}),
    }
    for browser in browsers:
        browser.close()
    gevent.sleep(0.3)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
