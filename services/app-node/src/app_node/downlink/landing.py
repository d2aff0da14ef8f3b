"""What is said outside of handlers, on its way to Redis: whoever said it waits until it has landed."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from app_node.downlink.batch import Batch
from sio_cluster.protocol.messages import Command, Emit, ServerItem


class Outbox(Protocol):
    """The part of `app_node.downlink.outbox.Outbox` that is needed here."""

    def put(self, node: str, command: Command | ServerItem, size: int, progress: None) -> Batch: ...

    def take_back(self, node: str, commands: list[Command | ServerItem]) -> None: ...


class Landing:
    """One command, or several that are waited for together."""

    __slots__ = ("_batches", "_emits", "_outbox", "_stays")

    def __init__(self, *, stays: bool = False) -> None:
        """`stays`: nothing is taken back. Nobody would say it again."""
        self._stays = stays
        self._outbox: Outbox | None = None
        self._batches: dict[Batch, None] = {}
        self._emits: dict[str, list[Command | ServerItem]] = {}  # by io-node

    def put(self, outbox: Outbox, nodes: Iterable[str], command: Command | ServerItem, size: int) -> None:
        """Queues the command for these io-nodes."""
        self._outbox = outbox
        for node in nodes:
            batch = outbox.put(node, command, size, None)
            self._batches[batch] = None
            if isinstance(command, Emit):
                self._emits.setdefault(node, []).append(command)

    async def landed(self) -> None:
        """Returns when Redis has all of it. Raises RuntimeError where the app-node ended before that.

        Where it is cancelled, emits that have not left are taken back: a caller that gave up may say them again. A
        change of a room is not, since the client's record says it already.
        """
        try:
            for batch in self._batches:
                await batch.landed()
        except asyncio.CancelledError:
            self.take_back()
            raise

    def take_back(self) -> None:
        """Gives up the emits that have not left, unless they stay."""
        if self._stays:
            return
        for node, commands in self._emits.items():
            if self._outbox is not None:
                self._outbox.take_back(node, commands)


_together: ContextVar[Landing | None] = ContextVar("landing_together", default=None)


@contextmanager
def landing_as_one(*, stays: bool = False) -> Iterator[Landing]:
    """What the running task says inside leaves in its order, and is not waited for: `landed` of what this gives is.

    Where the task is cancelled inside, its emits that have not left are taken back. `stays`: they are not.
    """
    landing = Landing(stays=stays)
    token = _together.set(landing)
    try:
        yield landing
    except asyncio.CancelledError:
        landing.take_back()
        raise
    finally:
        _together.reset(token)


def landing_together() -> Landing | None:
    """Where to put what the running task says. None: it is waited for at once."""
    return _together.get()
