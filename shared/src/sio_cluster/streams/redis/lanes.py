"""Reading lanes: many streams, one holder each, nothing forgotten before it is committed.

What a lane's stream holds is what nobody has committed. Its consumer group, named after the lane's holder, keeps only
the position up to which entries were given out (NOACK: no list of pending entries beside the stream): what lies
before that position was given to somebody, what lies after it is new. See `scripts.ACQUIRE` for the takeover.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.streams.redis.bus import Bus, call
from sio_cluster.streams.redis.connection import Command, raise_first_error
from sio_cluster.streams.redis.replies import NoGroup, NoKey
from sio_cluster.streams.redis.scripts import COMMIT, SET_ASIDE
from sio_cluster.streams.redis.wire import Reply

log = structlog.get_logger()

DEAD_ENTRIES = 1000
"""How many entries a lane's dead stream keeps; beyond it the oldest go."""

_COMMIT_IDS = 1000  # Lua's unpack takes some thousands of arguments
_INTERRUPT_AGAIN_S = 0.005


@dataclass(frozen=True, slots=True)
class LaneEntry:
    """One uplink batch, still encoded. `redelivered`: a former holder was given it, and may have handled it."""

    lane: int
    id: bytes
    entry: bytes
    redelivered: bool


class LaneReader:
    """Reads the lanes that `consumer` holds; it must be the `holder` that acquired their leases.

    One `read` at a time. Entries whose delivery was lost with a connection come with the next read, in order.
    """

    def __init__(self, bus: Bus, consumer: str) -> None:
        self._bus = bus
        self._consumer = consumer
        self._link = bus.reader()
        keys = bus.keys
        self._uplinks = [keys.uplink(lane) for lane in range(bus.config.lanes)]
        self._commit_keys = [(key, keys.state(key), keys.lease(lane)) for lane, key in enumerate(self._uplinks)]
        self._lane_of = {key.encode(): lane for lane, key in enumerate(self._uplinks)}
        self._sizes: dict[int, dict[bytes, int]] = {}  # of what is given out and not committed
        self._given: dict[int, bytes] = {}  # the last id given out
        self._in_doubt: set[int] = set()  # lanes whose last read may have lost its answer
        self._claimed: set[int] = set()  # lanes that were claimed while a read was under way
        self._lost: set[int] = set()  # lanes that another has taken over
        self._idle = asyncio.Event()
        self._idle.set()
        self._interrupted = asyncio.Event()

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        """New entries of these lanes, at most `count` of each, in order within a lane; [] on timeout or interrupt.

        A lane that another has taken over brings nothing; `commit` and `Leases.renew` say that it is lost.
        """
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

    async def claim(self, lane: int) -> list[LaneEntry]:
        """At takeover, after `acquire` and before the first read of the lane: what former holders were given and did
        not commit, in order. Empty where the lease is not ours.

        A read that was sent before, for a lane that was ours before, may be given entries after `acquire`. They belong
        behind the claimed ones: what it brings for this lane is let go, and comes again with the next read.
        """
        holder, position = (await self._bus.run(("HMGET", self._bus.keys.lease(lane), "holder", "position")))[0]
        if holder != self._consumer.encode():
            return []
        [items] = await self._bus.run(("XRANGE", self._uplinks[lane], "-", position))
        self._sizes.pop(lane, None)
        self._lost.discard(lane)
        self._in_doubt.add(lane)
        self._claimed.add(lane)
        self._given[lane] = position
        return self._give(lane, items, redelivered=True)

    async def interrupt(self) -> None:
        """Ends a blocked read at once, with []. Without effect while no read is under way."""
        if self._idle.is_set():
            return
        self._interrupted.set()
        while not self._idle.is_set():
            if self._link.greeted:
                [ended] = await self._bus.run(("CLIENT", "UNBLOCK", self._link.greeted[0]))
                if ended:
                    return
            try:  # it has not begun to block, or has just ended
                async with asyncio.timeout(_INTERRUPT_AGAIN_S):
                    await self._idle.wait()
            except TimeoutError:
                continue

    async def commit(self, lane: int, token: int, ids: Sequence[bytes]) -> None:
        """Forgets these entries for good and gives their bytes back. Raises LeaseLost, without effect, when our lease
        with `token` does not stand any more."""
        sizes = self._sizes.get(lane, {})
        commands = []
        for start in range(0, len(ids), _COMMIT_IDS):
            some = ids[start : start + _COMMIT_IDS]
            size = sum([sizes.get(entry_id, 0) for entry_id in some])
            commands.append(call(COMMIT, self._commit_keys[lane], self._consumer, token, size, *some))
        if -1 in await self._bus.run(*commands):
            raise LeaseLost(f"lane {lane} is no longer held with token {token}")
        for entry_id in ids:
            sizes.pop(entry_id, None)

    async def set_aside(self, lane: int, token: int, entry: LaneEntry, why: str) -> int:
        """Moves an entry that cannot be decoded to the lane's dead stream and commits it. How many older ones that
        stream let go for it: they are lost. Raises LeaseLost."""
        lane_keys = (*self._commit_keys[lane], self._bus.keys.dead(lane))
        arguments = (self._consumer, token, entry.id, entry.entry, why, DEAD_ENTRIES)
        [moved] = await self._bus.run(call(SET_ASIDE, lane_keys, *arguments))
        if moved == -1:
            raise LeaseLost(f"lane {lane} is no longer held with token {token}")
        self._sizes.get(lane, {}).pop(entry.id, None)
        return max(0, int(moved) - 1)

    async def close(self) -> None:
        """Closes the reader's own connection. Idempotent."""
        await self._bus.close_reader(self._link)

    async def _read_new(self, lanes: Sequence[int], block_ms: int, count: int) -> list[LaneEntry]:
        block: Command = ("BLOCK", block_ms) if block_ms > 0 else ()
        command: Command = (
            "XREADGROUP", "GROUP", self._consumer, "reader", "COUNT", count, *block, "NOACK",
            "STREAMS", *[self._uplinks[lane] for lane in lanes], *[">"] * len(lanes),
        )  # fmt: skip
        await self._link.ready()  # so that an interrupt knows whom to wake
        if self._interrupted.is_set():
            return []
        answered = False
        try:
            reply = await self._link.run_alone(command, block_ms)
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
                found += self._give(lane, items, redelivered=False)
        return found

    async def _find_undelivered(self, lanes: Sequence[int]) -> list[LaneEntry]:
        """What was given to us by an answer that never came: from the last id we saw to the group's position."""
        positions = await self._positions(lanes)
        commands: list[Command] = []
        for lane, position in positions.items():
            after = b"(" + self._given[lane] if lane in self._given else b"-"
            commands.append(("XRANGE", self._uplinks[lane], after, position))
        found: list[LaneEntry] = []
        for lane, items in zip(positions, await self._bus.run(*commands), strict=True):
            if lane not in self._claimed:
                found += self._give(lane, items, redelivered=False)
        self._in_doubt.difference_update(set(lanes) - self._claimed)
        self._lost.update(lane for lane in lanes if lane not in positions and lane not in self._claimed)
        return found

    async def _find_lost(self, lanes: Sequence[int]) -> None:
        """Leaves out the lanes that are not ours any more, until they are claimed again."""
        positions = await self._positions(lanes)
        lost = [lane for lane in lanes if lane not in positions and lane not in self._claimed]
        self._lost.update(lost)
        log.warning("lanes_taken_over", consumer=self._consumer, lanes=lost)

    async def _positions(self, lanes: Sequence[int]) -> dict[int, bytes]:
        """The position of each of these lanes that still has our group."""
        commands: list[Command] = [("XINFO", "GROUPS", self._uplinks[lane]) for lane in lanes]
        positions = {}
        replies = await self._link.run(commands)
        for lane, reply in zip(lanes, replies, strict=True):
            if isinstance(reply, NoKey):
                continue
            raise_first_error([reply])
            position = _position_of(self._consumer.encode(), reply)
            if position is not None:
                positions[lane] = position
        return positions

    def _give(self, lane: int, items: Reply, redelivered: bool) -> list[LaneEntry]:
        if not items:
            return []
        sizes = self._sizes.setdefault(lane, {})
        given = []
        for entry_id, fields in items:
            entry = fields[1]
            sizes[entry_id] = len(entry)
            given.append(LaneEntry(lane, entry_id, entry, redelivered))
        self._given[lane] = items[-1][0]
        return given

    async def _pause(self, block_ms: int) -> None:
        """There is nothing to read from: waits as a read would."""
        try:
            async with asyncio.timeout(block_ms / 1000):
                await self._interrupted.wait()
        except TimeoutError:
            return


def _position_of(name: bytes, groups: Reply) -> bytes | None:
    for group in groups:
        fields = dict(zip(group[::2], group[1::2], strict=True))
        if fields[b"name"] == name:
            position: bytes = fields[b"last-delivered-id"]
            return position
    return None
