"""Callbacks of `emit` and `call` that wait for clients' answers.

An ack id is (epoch << 32) + counter. Each app-node gets an epoch of its own, so an ack id is unique in the cluster,
also across restarts: a late answer to an app-node that died never calls a callback of the next one. Bounded: where more
than `MAX_WAITING` callbacks wait, the oldest is given up and counted.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app_node.counters import Counters

MAX_WAITING = 100_000

Callback = Callable[..., Any]


@dataclass(slots=True)
class Waiting:
    """A callback. `sid` is the client that may answer it; None: the emit went to many, and each may answer."""

    callback: Callback
    sid: str | None


class Callbacks:
    """The callbacks that wait. `open` comes before the first `ask`."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._waiting: dict[int, Waiting] = {}
        self._of_client: dict[str, set[int]] = {}
        self._ids: itertools.count[int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether `ask` may be called."""
        return self._ids is not None

    def open(self, epoch: int) -> None:
        """Ack ids begin with this epoch (`Registry.next_epoch`)."""
        self._ids = itertools.count((epoch << 32) + 1)

    def ask(self, callback: Callback, sid: str | None) -> int:
        """A new ack id, under which this callback waits."""
        if self._ids is None:
            raise RuntimeError("no epoch yet")
        if len(self._waiting) >= MAX_WAITING:
            self._give_up_oldest()
        ack_id = next(self._ids)
        self._waiting[ack_id] = Waiting(callback, sid)
        if sid is not None:
            self._of_client.setdefault(sid, set()).add(ack_id)
        return ack_id

    def answer(self, sid: str, ack_id: int) -> Callback | None:
        """The callback that this client's answer belongs to. None, counted, where none waits for it."""
        waiting = self._waiting.get(ack_id)
        if waiting is None or waiting.sid not in (None, sid):
            self._counters.acks_refused["unknown"] += 1
            return None
        if waiting.sid is not None:
            self._remove(ack_id, sid)
        return waiting.callback

    def forget_client(self, sid: str) -> None:
        """Drops the callbacks that only this client could answer: it is gone."""
        for ack_id in self._of_client.pop(sid, ()):
            self._waiting.pop(ack_id, None)

    def _give_up_oldest(self) -> None:
        ack_id = next(iter(self._waiting))
        self._remove(ack_id, self._waiting[ack_id].sid)
        self._counters.callbacks_given_up += 1

    def _remove(self, ack_id: int, sid: str | None) -> None:
        del self._waiting[ack_id]
        if sid is not None:
            ids = self._of_client[sid]
            ids.discard(ack_id)
            if not ids:
                del self._of_client[sid]
