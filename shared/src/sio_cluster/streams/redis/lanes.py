"""Reading lanes: many streams, one holder each, nothing forgotten before it is committed.

A lane's stream holds the entries that nobody has committed. It has one consumer group, which bears the node id of the
lane's holder and keeps one position: entries up to there were given to somebody, entries after it are new. There is no
list of pending entries beside the stream (NOACK). `scripts.lanes.ACQUIRE` says how a lane changes hands.
"""

import asyncio
from collections.abc import Collection, Sequence

import structlog

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import is_quarantine, quarantine_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.lanes import DEAD_LETTERS_KEPT, PAGE_ENTRIES, Claimed, Counted, LaneEntry, Unclaimed
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.redis.connection import RedisCommand, pack, raise_first_error
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.replies import NoGroup, NoKey
from sio_cluster.streams.redis.scripts.lanes import CLAIM, PEEK
from sio_cluster.streams.redis.scripts.quarantine import QUARANTINE, SET_ASIDE
from sio_cluster.streams.redis.wire import Reply

log = structlog.get_logger()

_INTERRUPT_AGAIN_S = 0.005  # a read that was not blocked yet when it was interrupted is interrupted again


class RedisLaneReader:
    """`api.lanes.LaneReader`."""

    def __init__(self, connections: Connections, keys: Keys, lanes: int, node_id: str, max_page_bytes: int) -> None:
        self._connections = connections
        self._keys = keys
        self._node_id = node_id
        self._max_page_bytes = max_page_bytes
        self._connection = connections.new_reader()
        numbers = [*range(lanes), *map(quarantine_of, range(lanes))]
        self._uplinks = {lane: keys.uplink(lane) for lane in numbers}
        self._lane_keys = {
            lane: (key, keys.state(key), keys.lease(lane), keys.done(lane)) for lane, key in self._uplinks.items()
        }
        self._lane_of = {key.encode(): lane for lane, key in self._uplinks.items()}
        self._last_read: tuple[list[int], int, int] | None = None  # lanes, block_ms, count
        self._packed_read = b""  # its command: most reads are like the one before
        self._given: dict[int, bytes] = {}  # lane -> the last id given to us
        self._in_doubt: set[int] = set()  # lanes whose last read may have lost its answer
        self._claimed: set[int] = set()  # lanes that were claimed while a read was under way
        self._lost: set[int] = set()  # lanes that another has taken over
        self._idle = asyncio.Event()
        self._idle.set()
        self._interrupted = asyncio.Event()

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        self._interrupted.clear()
        self._claimed.clear()
        self._idle.clear()
        try:
            ours = [lane for lane in lanes if lane not in self._lost]
            if not ours:
                await self._pause(block_ms)
                return []
            if not self._in_doubt.isdisjoint(ours):
                found = await self._find_undelivered([lane for lane in ours if lane in self._in_doubt])
                if found:
                    return found
            return await self._read_new(ours, block_ms, count)
        finally:
            self._idle.set()

    async def claim(self, lane: int) -> Claimed:
        """As the interface says.

        A read that was sent before this call, while the lane was ours in an earlier lease, may be given entries after
        `acquire`. They belong behind the claimed ones. So what that read brings for this lane is dropped here, and
        comes again with the next read.
        """
        page = await self._claim(lane)
        if page is None:
            return Claimed([])
        self._lost.discard(lane)
        self._in_doubt.add(lane)
        self._claimed.add(lane)
        self._given[lane] = page[0]
        return self._take_page(lane, page)

    async def claim_more(self, rest: Unclaimed) -> Claimed:
        page = await self._claim(rest.lane, rest.after, rest.token)
        return Claimed([]) if page is None else self._take_page(rest.lane, page)

    async def peek(self, lane: int, count: int = PAGE_ENTRIES, after: bytes = b"") -> list[LaneEntry]:
        begin = b"(" + after if after else b"-"
        count = min(count, PAGE_ENTRIES)
        [items] = await self._connections.run(call(PEEK, (self._uplinks[lane],), begin, count, self._max_page_bytes))
        return [_entry(lane, entry_id, fields, None) for entry_id, fields in items]

    async def interrupt(self) -> None:
        if self._idle.is_set():
            return
        self._interrupted.set()
        while not self._idle.is_set():
            if self._connection.greeted:
                [ended] = await self._connections.run(("CLIENT", "UNBLOCK", self._connection.greeted[0]))
                if ended:
                    return
            try:  # it has not begun to block, or has just ended
                async with asyncio.timeout(_INTERRUPT_AGAIN_S):
                    await self._idle.wait()
            except TimeoutError:
                continue

    async def quarantine(self, lease: Lease, moves: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        lane = lease.lane
        target = self._uplinks[quarantine_of(lane)]
        move_keys = (*self._lane_keys[lane], target, self._keys.state(target))
        moved = await self._connections.run(
            *[call(QUARANTINE, move_keys, lease.node_id, lease.token, entry_id, *parts) for entry_id, parts in moves]
        )
        if -1 in moved:
            raise LeaseLost(f"lane {lane} is no longer held with token {lease.token}")

    async def set_aside(self, lease: Lease, entry: LaneEntry, why: str) -> int:
        lane = lease.lane
        lane_keys = (*self._lane_keys[lane], self._keys.dead(lane))
        arguments = (lease.node_id, lease.token, entry.id, entry.entry, why, DEAD_LETTERS_KEPT, int(entry.redelivered))
        [moved] = await self._connections.run(call(SET_ASIDE, lane_keys, *arguments))
        if moved == -1:
            raise LeaseLost(f"lane {lane} is no longer held with token {lease.token}")
        return max(0, int(moved) - 1)

    async def close(self) -> None:
        await self._connections.close_reader(self._connection)

    async def _claim(self, lane: int, *behind: bytes | int) -> Reply:
        claim_keys = (self._keys.lease(lane), self._uplinks[lane], self._keys.takeovers(lane), self._keys.done(lane))
        arguments = (self._node_id, PAGE_ENTRIES, self._max_page_bytes, *behind)
        [page] = await self._connections.run(call(CLAIM, claim_keys, *arguments))
        return page

    def _take_page(self, lane: int, page: Reply) -> Claimed:
        _, token, once, twice, items, more, notes = page
        counted = Counted(_place(once), _place(twice))
        entries = [
            _entry(lane, entry_id, fields, counted, _numbers(note))
            for (entry_id, fields), note in zip(items, notes, strict=True)
        ]
        return Claimed(entries, Unclaimed(lane, int(token), entries[-1].id) if more else None)

    async def _read_new(self, lanes: list[int], block_ms: int, count: int) -> list[LaneEntry]:
        packed = self._packed(lanes, block_ms, count)
        await self._connection.ready()  # so that an interrupt knows whom to wake
        if self._interrupted.is_set():
            return []
        answered = False
        try:
            [reply] = await self._connection.run_alone(packed, 1, block_ms)
            answered = True
        finally:
            if not answered:
                self._in_doubt.update(lanes)
        if isinstance(reply, NoGroup):
            await self._find_lost(lanes)
            return []
        raise_first_error([reply])
        found: list[LaneEntry] = []
        for key, items in reply or ():
            lane = self._lane_of[key]
            if lane not in self._claimed:
                found += self._give(lane, items)
        return found

    def _packed(self, lanes: list[int], block_ms: int, count: int) -> bytes:
        """The command that reads what is new of these lanes."""
        read = (lanes, block_ms, count)
        if read != self._last_read:
            self._last_read = read
            block: RedisCommand = ("BLOCK", block_ms) if block_ms > 0 else ()
            self._packed_read = pack([(
                "XREADGROUP", "GROUP", self._node_id, "reader", "COUNT", count, *block, "NOACK",
                "STREAMS", *[self._uplinks[lane] for lane in lanes], *[">"] * len(lanes),
            )])  # fmt: skip
        return self._packed_read

    async def _find_undelivered(self, lanes: Sequence[int]) -> list[LaneEntry]:
        """Entries that Redis gave us in an answer which never came: those after the last id that we saw, up to the
        position of the lane's group."""
        positions = await self._positions(lanes)
        commands: list[RedisCommand] = []
        for lane, position in positions.items():
            after = b"(" + self._given[lane] if lane in self._given else b"-"
            commands.append(("XRANGE", self._uplinks[lane], after, position))
        found: list[LaneEntry] = []
        for lane, items in zip(positions, await self._connections.run(*commands), strict=True):
            if lane not in self._claimed:
                found += self._give(lane, items)
        self._in_doubt.difference_update(set(lanes) - self._claimed)
        self._lost.update(lane for lane in lanes if lane not in positions and lane not in self._claimed)
        return found

    async def _find_lost(self, lanes: Sequence[int]) -> None:
        """Finds out which of these lanes another node has taken over. Those are not read until they are claimed."""
        positions = await self._positions(lanes)
        lost = [lane for lane in lanes if lane not in positions and lane not in self._claimed]
        self._lost.update(lost)
        log.warning("lanes_taken_over", node=self._node_id, lanes=lost)

    async def _positions(self, lanes: Sequence[int]) -> dict[int, bytes]:
        """lane -> position, for those of these lanes whose group still bears our node id."""
        commands: list[RedisCommand] = [("XINFO", "GROUPS", self._uplinks[lane]) for lane in lanes]
        positions = {}
        replies = await self._connection.run(commands)
        for lane, reply in zip(lanes, replies, strict=True):
            if isinstance(reply, NoKey):
                continue
            raise_first_error([reply])
            position = _position_of(self._node_id.encode(), reply)
            if position is not None:
                positions[lane] = position
        return positions

    def _give(self, lane: int, items: Reply) -> list[LaneEntry]:
        """New entries."""
        if not items:
            return []
        self._given[lane] = items[-1][0]
        return [_entry(lane, entry_id, fields, None) for entry_id, fields in items]

    async def _pause(self, block_ms: int) -> None:
        """Waits as a read would, where there is no lane to read from."""
        try:
            async with asyncio.timeout(block_ms / 1000):
                await self._interrupted.wait()
        except TimeoutError:
            return


def _entry(
    lane: int, entry_id: bytes, fields: list[bytes], claimed: Counted | None, done: frozenset[int] = frozenset()
) -> LaneEntry:
    """`claimed`: how often what a former holder left was taken over. None for new entries.

    A second field says that facts of the entry were handled before it was put back (`scripts.quarantine.REQUEUE`).
    """
    if claimed is not None:
        return LaneEntry(lane, entry_id, fields[1], True, claimed.of(lane, _place(entry_id)), done)
    in_quarantine = is_quarantine(lane)
    return LaneEntry(lane, entry_id, fields[1], in_quarantine or len(fields) > 2, 2 if in_quarantine else 0)


def _numbers(note: bytes) -> frozenset[int]:
    return frozenset(map(int, note.split(b","))) if note else frozenset()


def _place(entry_id: bytes) -> tuple[int, int]:
    """An id of Redis as what it is: milliseconds, and a number among those of the same millisecond."""
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number or 0)


def _position_of(name: bytes, groups: Reply) -> bytes | None:
    for group in groups:
        fields = dict(zip(group[::2], group[1::2], strict=True))
        if fields[b"name"] == name:
            position: bytes = fields[b"last-delivered-id"]
            return position
    return None
