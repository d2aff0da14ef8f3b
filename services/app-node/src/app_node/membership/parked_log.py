"""Keeps the log of a parked home small, as its io-node would if it lived.

What is old enough goes, and the oldest goes where there is too much. What goes may have said who is in which room, and
a client that comes back must be told of what was said to its rooms since. So it is read before it goes, and is handed
over together with what it said of rooms (`parked_rooms`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

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

PART_BYTES = 50_000
"""So much of a page is decoded, and told to Redis, in one go: some 1,000 commands, which take milliseconds."""

MOST_ENTRIES = 500
FIRST_ENTRIES = 20
"""How many entries are read at a time, at most, and the first time: nobody knows yet how large they are."""


_Said: TypeAlias = tuple[bytes, list[Command]]
"""An entry: its id, and what it says."""


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
        for part in _parts(entries):
            await self._forget(part)
        self._pages.popleft()
        self._bytes -= page.size

    async def _forget(self, entries: list[InboxEntry]) -> None:
        """An entry that cannot be decoded goes alone: the others still say what they say."""
        said: list[_Said] = []
        for entry in entries:
            try:
                said.append((entry.id, decode_downlink(entry.entry).commands))
            except MalformedBatch as error:
                await self._forget_said(said)
                said = []
                await self._forget_unread(entry, error)
        await self._forget_said(said)

    async def _forget_said(self, said: list[_Said]) -> None:
        if not said:
            return
        assert self._horizon is not None
        up_to = said[-1][0]
        await asyncio.sleep(0)
        ops = await self._rooms.ops([command for _, commands in said for command in commands], self._horizon)
        await asyncio.sleep(0)
        with suppress(RedisFull):  # then nobody who was quiet comes back, and Redis gets room
            await self._homes.mark_gone(self._home, _gone(said, ops), up_to)
        await self._homes.forget_parked(self._home, up_to, ops)
        self._gone_up_to(up_to, len(said))

    async def _forget_unread(self, entry: InboxEntry, error: MalformedBatch) -> None:
        """Nobody can tell what it says of rooms. So no client that was there by then comes back."""
        self._counters.parked_entries_malformed += 1
        log.error("parked_entry_malformed", home=self._home, entry=entry.id.decode(), why=str(error))
        self._rooms = ParkedRooms(self._home, self._homes, self._records)
        await self._homes.forget_parked(self._home, entry.id, None)
        self._gone_up_to(entry.id, 1)

    def _gone_up_to(self, horizon: bytes, entries: int) -> None:
        self._horizon = horizon
        self._counters.parked_entries_forgotten += entries


def _parts(entries: list[InboxEntry]) -> Iterator[list[InboxEntry]]:
    """Some at a time, of PART_BYTES in all, or one that is larger."""
    part: list[InboxEntry] = []
    size = 0
    for entry in entries:
        if part and size + len(entry.entry) > PART_BYTES:
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry.entry)
    yield part


def _gone(said: list[_Said], ops: list[RoomOp]) -> Gone:
    """What stays known of these entries, so that a client that was quiet for long can come back."""
    gone = Gone()
    for entry_id, commands in said:
        gone.add(entry_id, commands)
    for op in ops:
        if not op.inside:
            gone.left(op.sid, op.room)
    return gone
