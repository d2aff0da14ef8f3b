"""Questions to the room index, apart from how they are sent: generators of commands, which are sent the answers.

`RedisRoomIndex` sends them in the event loop, `RedisLookup` while the thread waits.
"""

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from sio_cluster.protocol.errors import IndexNotExact
from sio_cluster.protocol.ids import lane_of, node_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.records import ClientRecord
from sio_cluster.streams.api.room_index import PAGE_LIMIT, RecordPage
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.rooms import decode_room, encode_room
from sio_cluster.streams.redis.stored import READS, decode_record, read_record
from sio_cluster.streams.redis.wire import Reply

_T = TypeVar("_T")
Question: TypeAlias = Generator[list[RedisCommand], list[Reply], _T]

EXACT = b"exact"
"""What the field `index` of the key `config` says where the index is exact."""

_AT_ONCE = 5_000
"""How many members of one lane's part of a room are read by one command. Redis takes 1 ms for that."""
_CHUNK = 2_000
"""Of a larger part, how many connected clients of the lane are looked at in one step."""
_RECORDS = 250
"""How many records are read in one round trip."""
_FIELDS = 500
"""How many rooms of one lane are named by one command, about."""


class Queries:
    """The questions of one cluster."""

    def __init__(self, keys: Keys, lanes: int) -> None:
        self._keys = keys
        self._lanes = lanes

    def count(self, namespace: str, room: Room | None) -> Question[int]:
        sizes = yield from self._ask([self._size(lane, namespace, room) for lane in range(self._lanes)])
        return sum(int(size or 0) for size in sizes)

    def counts(self, namespace: str, prefix: str) -> Question[dict[Room, int]]:
        pattern = literally(encode_room(prefix)[:-1]) + b"*" if prefix else b"*"
        names = [self._keys.counts(lane, namespace) for lane in range(self._lanes)]
        parts = yield from self._ask([_scan(name, b"0", pattern) for name in names])
        total: dict[Room, int] = {}
        for name, part in zip(names, parts, strict=True):
            for encoded, number in (yield from self._scanned(name, part, pattern)).items():
                room = decode_room(encoded)
                total[room] = total.get(room, 0) + int(number)
        return total

    def _scanned(self, name: str, part: Reply, pattern: bytes) -> Question[dict[bytes, bytes]]:
        """All of one hash, of which this is the first part. A scan may bring a field twice."""
        fields: dict[bytes, bytes] = {}
        while True:
            cursor, flat = part
            fields.update(zip(flat[::2], flat[1::2], strict=True))
            if cursor == b"0":
                return fields
            [part] = yield from self._ask([_scan(name, cursor, pattern)])

    def page(self, namespace: str, room: Room | None, limit: int, cursor: str | None) -> Question[RecordPage]:
        sids, following = yield from self.sids(namespace, room, limit, cursor)
        records: list[ClientRecord] = []
        for begin in range(0, len(sids), _RECORDS):
            found = yield from self.records(sids[begin : begin + _RECORDS])
            records += [
                record
                for record in found
                if record is not None and record.is_here and (room is None or room in record.rooms)
            ]
        return RecordPage(records, following)

    def records(self, sids: list[str]) -> Question[list[ClientRecord | None]]:
        """The record of each of these clients, whether the index is exact or not."""
        commands = [command for sid in sids for command in read_record(self._keys, self._lanes, sid)]
        replies = (yield commands) if commands else []
        return [decode_record(*replies[begin : begin + READS]) for begin in range(0, len(replies), READS)]

    def sids(
        self, namespace: str, room: Room | None, limit: int, cursor: str | None
    ) -> Question[tuple[list[str], str | None]]:
        """As `page`, but sids. Of a room, also members that are not connected.

        The order: lane by lane, and in each lane by sid. A cursor is the sid behind which to go on.
        """
        if not 0 < limit <= PAGE_LIMIT:
            raise ValueError(f"a page has 1 to {PAGE_LIMIT} clients, not {limit}")
        first, after = _place(cursor, self._lanes)
        lanes = range(first, self._lanes)
        sizes = yield from self._ask([self._size_of_part(lane, namespace, room) for lane in lanes])
        parts = [_Part(lane, size) for lane, size in zip(lanes, sizes, strict=True) if size]
        if parts and parts[0].lane == first:
            parts[0].after = after
        sids: list[str] = []
        while parts:
            some = _enough(parts, limit - len(sids))
            del parts[: len(some)]
            for found in (yield from self._read(some, namespace, room, limit)):
                room_left = limit - len(sids)
                sids += found[:room_left]
                if len(found) >= room_left:
                    return sids, sids[-1]
        return sids, None

    def _read(self, parts: "list[_Part]", namespace: str, room: Room | None, limit: int) -> Question[list[list[str]]]:
        """Of each part the next sids in order: all that there are, or at least `limit`."""
        if room is not None and parts[0].size > _AT_ONCE:
            return [(yield from self._read_large(parts[0], namespace, room, limit))]
        if room is None:
            replies = yield [self._connected(part.lane, namespace, part.after, limit) for part in parts]
        else:
            replies = yield [("SMEMBERS", self._room(part.lane, namespace, room)) for part in parts]
        return [
            sorted(sid for sid in map(bytes.decode, reply) if sid > part.after)
            for part, reply in zip(parts, replies, strict=True)
        ]

    def _read_large(self, part: "_Part", namespace: str, room: Room, limit: int) -> Question[list[str]]:
        """Redis cannot tell the members of a large set in order. But it can so with those who are connected."""
        found: list[str] = []
        after = part.after
        while len(found) < limit:
            [chunk] = yield [self._connected(part.lane, namespace, after, _CHUNK)]
            if chunk:
                [inside] = yield [("SMISMEMBER", self._room(part.lane, namespace, room), *chunk)]
                found += [sid.decode() for sid, is_in in zip(chunk, inside, strict=True) if is_in]
                after = chunk[-1].decode()
            if len(chunk) < _CHUNK:
                break
        return found

    def _ask(self, commands: list[RedisCommand]) -> Question[list[Reply]]:
        """The answers, if the index is exact. Else raises IndexNotExact."""
        exact, *replies = yield [("HGET", self._keys.config, "index"), *commands]
        if exact != EXACT:
            raise IndexNotExact("nodes of an older release have changed rooms: the room index is being built anew")
        return replies

    def _size(self, lane: int, namespace: str, room: Room | None) -> RedisCommand:
        """How many connected clients this lane has (in the room)."""
        if room is None:
            return ("ZCARD", self._keys.here(lane, namespace))
        return ("HGET", self._keys.counts(lane, namespace), encode_room(room))

    def _size_of_part(self, lane: int, namespace: str, room: Room | None) -> RedisCommand:
        """How many members it takes to read this lane's part."""
        return self._size(lane, namespace, None) if room is None else ("SCARD", self._room(lane, namespace, room))

    def _connected(self, lane: int, namespace: str, after: str | bytes, limit: int) -> RedisCommand:
        begin = b"(" + (after.encode() if isinstance(after, str) else after) if after else b"-"
        return ("ZRANGE", self._keys.here(lane, namespace), begin, "+", "BYLEX", "LIMIT", 0, limit)

    def _room(self, lane: int, namespace: str, room: Room) -> str:
        return self._keys.room(lane, namespace, encode_room(room).decode())


@dataclass(slots=True)
class _Part:
    """What one lane has. `size`: how many there are to read. `after`: the sid behind which to begin."""

    lane: int
    size: int
    after: str = ""


def _enough(parts: list[_Part], wanted: int) -> list[_Part]:
    """As many of the first parts as it takes to have so many sids, as a rule. A large one comes alone."""
    some: list[_Part] = []
    for part in parts:
        if wanted <= 0 or (some and part.size > _AT_ONCE):
            break
        some.append(part)
        wanted -= part.size
        if part.size > _AT_ONCE:
            break
    return some


def _place(cursor: str | None, lanes: int) -> tuple[int, str]:
    """The lane, and the sid behind which to go on there. Raises ValueError."""
    if cursor is None:
        return 0, ""
    if node_of(cursor) is None:
        raise ValueError(f"{cursor!r} is no cursor of a page")
    return lane_of(cursor, lanes), cursor


def _scan(name: str, cursor: bytes, pattern: bytes) -> RedisCommand:
    return ("HSCAN", name, cursor, "MATCH", pattern, "COUNT", _FIELDS)


def literally(text: bytes) -> bytes:
    """A pattern of MATCH that stands for these bytes."""
    return re.sub(rb"([\\*?\[\]^-])", rb"\\\1", text)
