"""Host names to addresses, without blocking the hub and without asking again for each of thousands of browsers."""

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent.socket import getaddrinfo

KEPT_S = 30.0

Address = tuple[int, Any]
"""Address family and socket address."""
Found = Callable[[list[Address] | OSError], None]

_known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
_asked: dict[tuple[str, int], list[Found]] = {}


def resolve(host: str, port: int, found: Found) -> None:
    """Calls `found` with the addresses to try, in order: at once where they are known, else from a greenlet."""
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
