"""A lane that this app-node holds."""

import asyncio
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.streams.redis.records import Under

Clock = Callable[[], float]
"""Seconds of a monotonic clock."""

if sys.platform == "linux":
    steady: Clock = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    """It goes on while the machine is suspended, as leases in Redis do; `time.monotonic` stands still then."""
else:
    steady: Clock = time.monotonic


class Unfinished:
    """What an entry in work weighs in bytes: `size` now, `share` less with each of its `facts` that ends."""

    __slots__ = ("facts", "share", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.share = 0
        self.facts = 0


class Lane:
    """One lease: until when it surely lasts, and the entries in work.

    `deadline` is the moment before the renewal was sent, plus the lease, minus a margin. Whoever finds it past must
    not act: Redis may have given the lane to another app-node. A process that was stopped for a while notices so.
    """

    __slots__ = (
        "_arriving", "_clock", "deadline", "idle", "in_work", "lease", "lost", "number", "tasks", "to_commit", "token",
        "unfinished",
    )  # fmt: skip

    def __init__(self, lease: Under, deadline: float, clock: Clock) -> None:
        self.lease = lease
        self.number = lease.lane
        self.token = lease.token
        self.deadline = deadline
        self.lost = False
        self.in_work: set[bytes] = set()  # ids of entries that were read and are not committed
        self.unfinished: dict[bytes, Unfinished] = {}  # those of them that are not done
        self.to_commit: list[bytes] = []  # those that are
        self.tasks: set[asyncio.Task[Any]] = set()
        self.idle = asyncio.Event()  # set while nothing is in work, nor on its way into it
        self.idle.set()
        self._arriving = 0
        self._clock = clock

    def held(self) -> bool:
        """Whether this app-node may act for the lane's clients now. Once False it stays so."""
        if not self.lost and self._clock() >= self.deadline:
            self.lost = True
        return not self.lost

    def require_held(self) -> None:
        """Raises LeaseLost where `held` is False: nothing may begin any more."""
        if not self.held():
            raise LeaseLost(f"lane {self.number} is no longer held: another app-node goes on with its clients")

    def expect(self) -> None:
        """An entry was read, and will be taken."""
        self._arriving += 1
        self.idle.clear()

    def arrived(self) -> None:
        """An entry that was expected was taken, or is none of ours any more."""
        self._arriving -= 1
        self._look()

    def opened(self, entry_id: bytes, size: int) -> Unfinished:
        """An entry is being worked on."""
        self.in_work.add(entry_id)
        unfinished = self.unfinished[entry_id] = Unfinished(size)
        self.idle.clear()
        return unfinished

    def committed(self, entry_ids: list[bytes]) -> None:
        """These entries are done and forgotten."""
        self.in_work.difference_update(entry_ids)
        self._look()

    def _look(self) -> None:
        if not self.in_work and not self._arriving:
            self.idle.set()
