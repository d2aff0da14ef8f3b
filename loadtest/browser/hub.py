"""What gevent's hub offers without a greenlet per client: one-shot timers, and host names looked up once."""

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent.socket import getaddrinfo

KEPT_S = 30.0
"""How long an answer of the name server is used again."""

Address = tuple[int, Any]
"""Address family and socket address."""
Found = Callable[[list[Address] | OSError], None]


class Alarm:
    """Calls back once, in the hub, when its time is up. A process does not stay alive for it."""

    __slots__ = ("_timer",)

    def __init__(self) -> None:
        self._timer: Any = None

    @property
    def is_set(self) -> bool:
        return self._timer is not None

    def set(self, after_s: float, callback: Callable[..., None], *args: Any) -> None:
        """Sets the alarm, in place of an earlier one."""
        self.clear()
        self._timer = gevent.get_hub().loop.timer(max(0.0, after_s))
        self._timer.start(self._ring, callback, args)

    def clear(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _ring(self, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.clear()
        callback(*args)


_known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
_asked: dict[tuple[str, int], list[Found]] = {}


def resolve(host: str, port: int, found: Found) -> None:
    """Calls `found` with the addresses to try, in order, or with an OSError.

    It calls at once where the answer is known, else later, from the hub. Thousands of browsers ask once together.
    """
    key = (host, port)
    known = _known.get(key)
    if known is not None and known[0] > time.monotonic():
        found(known[1])
    elif key in _asked:
        _asked[key].append(found)
    else:
        _asked[key] = [found]
        gevent.spawn(_ask, key)


def _ask(key: tuple[str, int]) -> None:
    answer: list[Address] | OSError
    try:
        rows = getaddrinfo(*key, type=socket.SOCK_STREAM)
        answer = [(int(family), address) for family, _, _, _, address in rows]
        _known[key] = (time.monotonic() + KEPT_S, answer)
    except UnicodeError as error:
        answer = OSError(f"not a host name: {error}")
    except OSError as error:
        answer = error
    for found in _asked.pop(key):
        gevent.get_hub().loop.run_callback(partial(found, answer))
