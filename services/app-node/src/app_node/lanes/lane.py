"""A lane that this app-node holds: until when, and what it has in work."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from app_node.clock import Clock
from app_node.lanes.begin import begin
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_behind
from sio_cluster.streams.api.leases import Lease


class Unfinished:
    """What one entry in work weighs, for the bound MAX_INFLIGHT_BYTES.

    `size` is its weight now, in bytes. `facts` counts those that have not ended; each that ends takes `share` away.
    """

    __slots__ = ("facts", "share", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.share = 0
        self.facts = 0


class Lane:
    """One lease of one lane, and the lane's entries that are in work.

    The lease surely lasts until `deadline`: that is the time at which its last renewal was *sent*, plus the lease's
    length, minus a margin. After it Redis may have given the lane to another app-node, so nothing may be done for its
    clients. A process that was stopped for a while finds out in this way.
    """

    __slots__ = (
        "_arriving", "_clock", "deadline", "idle", "in_work", "lease", "lost", "number", "tasks", "token", "unfinished",
    )  # fmt: skip

    def __init__(self, lease: Lease, deadline: float, clock: Clock) -> None:
        self.lease = lease
        self.number = lease.lane
        self.token = lease.token
        self.deadline = deadline
        self.lost = False
        self.in_work: set[bytes] = set()  # ids of entries that were read and are not committed
        self.unfinished: dict[bytes, Unfinished] = {}  # those of them that are not done
        self.tasks: set[asyncio.Task[Any]] = set()  # handlers that run
        self.idle = asyncio.Event()  # set while no entry is in work or about to be
        self.idle.set()
        self._arriving = 0
        self._clock = clock

    @property
    def behind(self) -> int:
        """The lane whose clients it serves: itself, or the one whose quarantine it is. Logs name this one."""
        return lane_behind(self.number)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a handler, or what stands for one, as a task that ends with the lane. It may have ended on return."""
        task = begin(work)
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def held(self) -> bool:
        """Whether this app-node may act for the lane's clients now. Once False, it stays False."""
        if not self.lost and self._clock() >= self.deadline:
            self.lost = True
        return not self.lost

    def require_held(self) -> None:
        """Raises LeaseLost where `held` is False: nothing new may begin."""
        if not self.held():
            raise LeaseLost(f"lane {self.behind} is no longer held: another app-node goes on with its clients")

    def expect(self) -> None:
        """An entry was read, and waits for its turn."""
        self._arriving += 1
        self.idle.clear()

    def arrived(self) -> None:
        """An entry that waited for its turn has had it."""
        self._arriving -= 1
        self._look()

    def opened(self, entry_id: bytes, size: int) -> Unfinished:
        """Work on an entry begins."""
        self.in_work.add(entry_id)
        unfinished = self.unfinished[entry_id] = Unfinished(size)
        self.idle.clear()
        return unfinished

    def committed(self, entry_ids: list[bytes]) -> None:
        """These entries are done, and Redis has removed them from the lane."""
        self.in_work.difference_update(entry_ids)
        self._look()

    def _look(self) -> None:
        if not self.in_work and not self._arriving:
            self.idle.set()
