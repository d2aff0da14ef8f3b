"""Keeps the log of a parked home small, as its io-node would if it lived.

What is old enough goes, and the oldest goes where there is too much. What goes may have said who is in which room, and
a client that comes back must be told of what was said to its rooms since. So it is read before it goes, and is handed
over together with what it said of rooms (`parked_rooms`).
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.membership.parked_rooms import HorizonMoved, ParkedRooms
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.errors import MalformedBatch, RedisFull
from sio_cluster.protocol.messages import Command
from sio_cluster.protocol.recovery import position_of
from sio_cluster.streams.api.homes import Homes
from sio_cluster.streams.api.inboxes import InboxEntry, RoomOp
from sio_cluster.streams.api.quiet import Gone
from sio_cluster.streams.api.records import ClientRecords

log = structlog.get_logger()

PAGE_BYTES = 1_000_000
PAGES = 32
"""About PAGE_BYTES are read and removed at a time, or a part of what the log may hold, if that is less."""

MOST_ENTRIES = 500
FIRST_ENTRIES = 20
"""How many entries are read at a time, at most, and the first time: nobody knows yet how large they are."""


class RedisTime:
    """What time it is in Redis, at least: the newest time that stands in an id, and what has passed here since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = float("-inf")

    def saw(self, entry_id: bytes) -> None:
        """This entry is in Redis."""
        self._ahead_ms = max(self._ahead_ms, position_of(entry_id, 0).ms - 1000 * self._clock())

    def age_ms(self, entry_id: bytes) -> float:
        """For how long this entry has been in Redis, at least."""
        return 1000 * self._clock() + self._ahead_ms - position_of(entry_id, 0).ms


@dataclass(frozen=True, slots=True)
class _Page:
    """A part of the log: how many entries, of how many bytes, up to this id."""

    entries: int
    size: int
    last: bytes


class ParkedLog:
    """The log of one home. Knows of its pages how large and how old they are, and nothing of what they say.

    Where another app-node has done the same meanwhile, or the home has dropped entries by itself, it begins anew.
    """

    def __init__(
        self,
        home: str,
        *,
        homes: Homes,
        records: ClientRecords,
        time: RedisTime,
        keep_ms: int,
        max_bytes: int,
        counters: Counters,
    ) -> None:
        self._home = home
        self._homes = homes
        self._records = records
        self._time = time
        self._keep_ms = keep_ms
        self._max_bytes = max_bytes
        self._page_bytes = min(PAGE_BYTES, max_bytes // PAGES)
        self._counters = counters
        self._horizon: bytes | None = None  # None: nothing is known yet
        self._read_to = b""
        self._pages: deque[_Page] = deque()
        self._bytes = 0
        self._count = FIRST_ENTRIES
        self._rooms = ParkedRooms(home, homes, records)

    async def shorten(self, goes_on: Callable[[], bool]) -> None:
        """Reads what has come, and lets go what is too old or too much, while `goes_on()`. Raises BusError."""
        horizon = await self._homes.horizon(self._home)
        if horizon is None:
            return
        if horizon != self._horizon:
            self._begin_at(horizon)
        while goes_on() and (entries := await self._homes.page(self._home, self._read_to, self._count)):
            self._take_note(entries)
        try:
            while goes_on() and self._pages and self._must_go(self._pages[0]):
                await self._let_go(self._pages[0])
        except HorizonMoved:
            self._horizon = None

    def _begin_at(self, horizon: bytes) -> None:
        self._horizon = self._read_to = horizon
        self._pages.clear()
        self._bytes = 0
        self._rooms = ParkedRooms(self._home, self._homes, self._records)

    def _take_note(self, entries: list[InboxEntry]) -> None:
        size, last = sum(len(entry.entry) for entry in entries), entries[-1].id
        self._pages.append(_Page(len(entries), size, last))
        self._bytes += size
        self._read_to = last
        self._time.saw(last)
        self._count = max(1, min(MOST_ENTRIES, self._page_bytes * len(entries) // max(1, size)))

    def _must_go(self, page: _Page) -> bool:
        return self._bytes > self._max_bytes or self._time.age_ms(page.last) > self._keep_ms

    async def _let_go(self, page: _Page) -> None:
        assert self._horizon is not None
        entries = await self._homes.page(self._home, self._horizon, page.entries)
        if not entries or entries[-1].id != page.last:
            raise HorizonMoved
        await self._forget(entries, self._horizon)
        self._horizon = page.last
        self._pages.popleft()
        self._bytes -= page.size
        self._counters.parked_entries_forgotten += len(entries)

    async def _forget(self, entries: list[InboxEntry], horizon: bytes) -> None:
        """Where nobody can tell what they say of rooms, no client of this home comes back."""
        up_to = entries[-1].id
        try:
            said = [(entry.id, decode_downlink(entry.entry).commands) for entry in entries]
        except MalformedBatch as error:
            self._counters.parked_entries_malformed += 1
            log.error("parked_entry_malformed", home=self._home, up_to=up_to.decode(), why=str(error))
            self._rooms = ParkedRooms(self._home, self._homes, self._records)
            await self._homes.forget_parked(self._home, up_to, None)
            return
        ops = await self._rooms.ops([command for _, commands in said for command in commands], horizon)
        with suppress(RedisFull):  # then nobody who was quiet comes back, and Redis gets room
            await self._homes.mark_gone(self._home, _gone(said, ops), up_to)
        await self._homes.forget_parked(self._home, up_to, ops)


def _gone(said: list[tuple[bytes, list[Command]]], ops: list[RoomOp]) -> Gone:
    """What stays known of these entries, so that a client that was quiet for long can come back."""
    gone = Gone()
    for entry_id, commands in said:
        gone.add(entry_id, commands)
    for op in ops:
        if not op.inside:
            gone.left(op.sid, op.room)
    return gone
