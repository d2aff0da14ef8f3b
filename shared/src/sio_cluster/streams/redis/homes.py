"""The logs of homes: read by those who take over their clients, and parked when their io-node is gone."""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence

from sio_cluster.protocol.errors import BusRefused, BusUnavailable, HomeLost
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.protocol.recovery import Position
from sio_cluster.streams.api.homes import AtHorizon
from sio_cluster.streams.api.inboxes import InboxEntry, RoomOp, order
from sio_cluster.streams.api.quiet import MOST_MARKS, UP_TO, Gone, Marks, names_of, start_again
from sio_cluster.streams.redis.absences import traces
from sio_cluster.streams.redis.connection import RedisCommand, pack, raise_first_error
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.inbox import (
    FIRST_COUNT,
    START,
    entries_of,
    forget_silent,
    last_id,
    log_of,
    next_count,
    xread,
)
from sio_cluster.streams.redis.records import RedisClientRecords
from sio_cluster.streams.redis.registry import RedisRegistry
from sio_cluster.streams.redis.rooms import decode_room
from sio_cluster.streams.redis.scripts.homes import AT_HORIZON, END, LOG_PAGE, PARK
from sio_cluster.streams.redis.wire import Reply

_PAGE_BYTES = 1_000_000
"""How many bytes one page brings, at most, unless its first entry is larger: Redis serves nobody else meanwhile."""

_LOOK_MS = 1_000
"""How often a tail that waits looks whether its home is still there."""

_STALE_LOOKED_AT = 100
"""At how many clients `end` looks, of each list, whether they are still there."""

_MARKS = 2_000
"""How many words of marks one command has: names, or names and values in turn."""


class RedisHomeTail:
    """`api.homes.HomeTail`."""

    def __init__(self, connections: Connections, keys: Keys, home: str, after: bytes, max_batch_bytes: int) -> None:
        self._connections = connections
        self._connection = connections.new_reader()
        self._key = keys.inbox(home)
        self._state = Keys.state(self._key)
        self._last = after
        self._max_batch_bytes = max_batch_bytes
        self._count = FIRST_COUNT
        self._connection_number = 0
        self._mark: bytes | None = None

    async def read(self, block_ms: int) -> list[InboxEntry]:
        ends_at = time.monotonic() + block_ms / 1000
        while True:
            left_ms = max(0, round((ends_at - time.monotonic()) * 1000))
            entries = await self._read(min(left_ms, _LOOK_MS))
            if entries or left_ms <= _LOOK_MS:
                return entries

    async def close(self) -> None:
        await self._connections.close_reader(self._connection)

    async def _read(self, block_ms: int) -> list[InboxEntry]:
        number = await self._connection.ready()
        if number != self._connection_number:
            await self._look_for_its_end()
            self._connection_number = number
        # The state is read behind the entries: what is there beyond the horizon of later was there before, too.
        read: list[RedisCommand] = [
            xread(self._key, self._last, self._count, block_ms),
            ("HMGET", self._state, "reader", "horizon"),
        ]
        found, state = replies = await self._connection.run_alone(pack(read), len(read), block_ms)
        raise_first_error(replies)
        self._check(state)
        if not found:
            return []
        entries = entries_of(found[0][1])
        self._last = entries[-1].id
        self._count = next_count(entries, self._max_batch_bytes)
        return entries

    async def _look_for_its_end(self) -> None:
        """On each new connection: a replica that took over may not have what was read already."""
        stream, *_ = replies = await self._connection.run([("XINFO", "STREAM", self._key)])
        raise_first_error([reply for reply in replies if isinstance(reply, BusUnavailable)])
        if not isinstance(stream, BusRefused) and order(last_id(stream)) < order(self._last):
            raise HomeLost(f"{self._key} has lost its end")

    def _check(self, state: Reply) -> None:
        mark, horizon = state
        if mark is None or (self._mark is not None and mark != self._mark):
            raise HomeLost(f"{self._key} is gone")
        if horizon is not None and order(horizon) > order(self._last):
            raise HomeLost(f"{self._key} has lost what comes after {self._last.decode()}")
        self._mark = mark


class RedisHomes:
    """`api.homes.Homes`."""

    def __init__(
        self, connections: Connections, keys: Keys, records: RedisClientRecords, registry: RedisRegistry
    ) -> None:
        self._connections = connections
        self._keys = keys
        self._records = records
        self._registry = registry

    async def horizon(self, home: str) -> bytes | None:
        state = Keys.state(self._keys.inbox(home))
        [[mark, horizon]] = await self._connections.run(("HMGET", state, "reader", "horizon"))
        return None if mark is None else horizon or START

    async def page(self, home: str, after: bytes, count: int = 500) -> list[InboxEntry]:
        page = call(LOG_PAGE, (self._keys.inbox(home),), b"(" + after, count, _PAGE_BYTES)
        return entries_of((await self._connections.run(page))[0])

    async def rooms(self, home: str, sid: str, since: Position | None) -> AtHorizon | None:
        keys = self._keys
        of_home = (Keys.state(keys.inbox(home)), keys.rooms_at_horizon(home, sid))
        waited = b"" if since is None else b"%d-%d" % since[:2]
        [found] = await self._connections.run(call(AT_HORIZON, of_home, waited))
        return None if found is None else AtHorizon(found[0], frozenset(map(decode_room, found[1])))

    async def absent(self, home: str) -> list[str]:
        [sids] = await self._connections.run(("ZRANGE", self._keys.away(home), 0, -1))
        return [sid.decode() for sid in sids]

    async def mark_gone(self, home: str, gone: Gone, up_to: bytes) -> None:
        key, names = self._keys.marks(home), gone.names()
        reads: list[RedisCommand] = [("HMGET", key, *some) for some in _portions([UP_TO, *names])]
        state = ("HMGET", Keys.state(self._keys.inbox(home)), "horizon")
        [horizon], count, *found = await self._connections.run(state, ("HLEN", key), *reads)
        [marked, *known] = [mark for marks in found for mark in marks]
        if count > MOST_MARKS or order(marked or START) < order(horizon or START):
            again = [word for mark in start_again(up_to).items() for word in mark]
            await self._connections.run(("UNLINK", key), ("HSET", key, *again))
            return
        marks = gone.marks({name: mark for name, mark in zip(names, known, strict=True) if mark is not None})
        words = [word for mark in marks.items() for word in mark]
        writes: list[RedisCommand] = [("HSET", key, *some) for some in _portions(words)]
        await self._connections.run(*writes, ("HSET", key, UP_TO, up_to))  # at last: only then all is there

    async def marks(self, home: str, sid: str, namespace: str, rooms: Iterable[Room]) -> Marks:
        names = names_of(sid, namespace, rooms)
        [found] = await self._connections.run(("HMGET", self._keys.marks(home), *names))
        return Marks(sid, {name: mark for name, mark in zip(names, found, strict=True) if mark is not None})

    def tail(self, home: str, after: bytes, max_batch_bytes: int = 4_000_000) -> RedisHomeTail:
        return RedisHomeTail(self._connections, self._keys, home, after, max_batch_bytes)

    async def park(self, home: str, max_bytes: int) -> None:
        keys, inbox = self._keys, self._keys.inbox(home)
        in_registry = (keys.parked_io_nodes, keys.io_nodes, keys.lost_io_nodes, keys.alive(home))
        of_home = (inbox, Keys.state(inbox), *in_registry)
        await self._connections.run(call(PARK, of_home, home, max_bytes, secrets.token_hex(8)))

    async def forget_parked(self, home: str, up_to: bytes, ops: Sequence[RoomOp] | None) -> None:
        await self._connections.run(log_of(self._keys, home).forget(up_to, ops, if_parked=True))

    async def forget_silent(self, home: str, last_seq: Mapping[str, int]) -> Mapping[str, int]:
        return await forget_silent(self._connections, Keys.state(self._keys.inbox(home)), last_seq)

    async def end(self, home: str) -> bool:
        keys, inbox = self._keys, self._keys.inbox(home)
        if home not in await self._registry.parked_io_nodes():
            return False
        await self._forget_traces(home)
        of_home = (keys.clients(home), keys.away(home), inbox, Keys.state(inbox))
        [ended] = await self._connections.run(call(END, (keys.parked_io_nodes, *of_home), home))
        if ended:
            await self._registry.unregister_io_node(home)
        return bool(ended)

    async def _forget_traces(self, home: str) -> None:
        """Of clients that are gone, if a crash has left any: the home would never end. Its io-node may also stand as
        the holder of clients of other homes, which have long been elsewhere."""
        keys = self._keys
        held, away = await self._connections.run(
            ("SRANDMEMBER", keys.clients(home), _STALE_LOOKED_AT), ("ZRANDMEMBER", keys.away(home), _STALE_LOOKED_AT)
        )
        sids = sorted({sid.decode() for sid in (*held, *away)})
        await self._records.correct_list(home, [sid.decode() for sid in held])
        there = await self._records.are_there(sids)
        await self._connections.run(*traces(keys, [sid for sid in sids if sid not in there]))


def _portions(words: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [words[start : start + _MARKS] for start in range(0, len(words), _MARKS)]
