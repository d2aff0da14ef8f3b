"""The room index: questions, and how it is built anew."""

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

import structlog

from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.room_index import RecordPage
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.queries import EXACT, Queries, Question, literally
from sio_cluster.streams.redis.scripts.room_index import NOTE, RECOUNT, REINDEX

log = structlog.get_logger()

_T = TypeVar("_T")

_AT_ONCE = 500
"""How many clients or rooms are looked at in one round trip."""

_RoomOf = tuple[int, str, bytes]
"""A lane, a namespace, and a room of it as JSON."""


class RedisRoomIndex:
    """`api.room_index.RoomIndex`: sets beside the records, in the slots of lanes."""

    def __init__(self, connections: Connections, keys: Keys, lanes: int) -> None:
        self._connections = connections
        self._keys = keys
        self._lanes = lanes
        self._queries = Queries(keys, lanes)

    async def count(self, namespace: str, room: Room | None = None) -> int:
        return await self._answer(self._queries.count(namespace, room))

    async def counts(self, namespace: str, prefix: str = "") -> dict[Room, int]:
        return await self._answer(self._queries.counts(namespace, prefix))

    async def page(
        self, namespace: str, room: Room | None = None, limit: int = 1000, cursor: str | None = None
    ) -> RecordPage:
        return await self._answer(self._queries.page(namespace, room, limit, cursor))

    async def is_exact(self) -> bool:
        [note] = await self._connections.run(("HGET", self._keys.config, "index"))
        return bool(note == EXACT)

    async def restore(self) -> None:
        """First who is connected, and then how many are in each room. The scripts that change records go on keeping
        both meanwhile, each step of this is atomic with them, and whatever they add is right."""
        note, config = secrets.token_hex(8), self._keys.config
        await self._connections.run(("HSET", config, "index", note))
        rooms = await self._restore_clients()
        await self._count_rooms(rooms)
        [noted] = await self._connections.run(call(NOTE, (config,), note, EXACT))
        log.info("room_index_restored", rooms=len(rooms), exact=bool(noted))

    async def _restore_clients(self) -> set[_RoomOf]:
        """Who is connected, by the records. Who has none is not. Returns all rooms of records."""
        rooms: set[_RoomOf] = set()
        async for lane, sids in self._found("client"):
            rooms |= await self._reindex([(lane, sid, "") for sid in sids])
        async for lane, namespaces in self._found("here"):
            for namespace in namespaces:
                after = "-"
                while sids := await self._sids(lane, namespace, after):
                    await self._reindex([(lane, sid, namespace) for sid in sids])
                    after = f"({sids[-1]}"
        return rooms

    async def _reindex(self, clients: Sequence[tuple[int, str, str]]) -> set[_RoomOf]:
        """`clients`: lane, sid, and the namespace in which it may stand without a record."""
        keys = self._keys
        known = await self._connections.run(
            *[
                call(
                    REINDEX,
                    (keys.client(lane, sid), keys.rooms(lane, sid), keys.here(lane, namespace)),
                    sid,
                    keys.of_lane(lane),
                )
                for lane, sid, namespace in clients
            ]
        )
        return {
            (lane, record[0].decode(), room)
            for (lane, *_), record in zip(clients, known, strict=True)
            if record is not None
            for room in record[1]
        }

    async def _sids(self, lane: int, namespace: str, begin: str) -> list[str]:
        key = self._keys.here(lane, namespace)
        [sids] = await self._connections.run(("ZRANGE", key, begin, "+", "BYLEX", "LIMIT", 0, _AT_ONCE))
        return [sid.decode() for sid in sids]

    async def _count_rooms(self, rooms: set[_RoomOf]) -> None:
        """Counts these rooms, and all that have a number."""
        async for lane, namespaces in self._found("counts"):
            for namespace in namespaces:
                rooms |= {(lane, namespace, room) async for room in self._numbered(lane, namespace)}
        keys, in_order = self._keys, sorted(rooms)
        for begin in range(0, len(in_order), _AT_ONCE):
            await self._connections.run(
                *[
                    call(
                        RECOUNT,
                        (keys.room(lane, namespace, room.decode()), keys.here(lane, namespace),
                         keys.counts(lane, namespace)),
                        room,
                    )
                    for lane, namespace, room in in_order[begin : begin + _AT_ONCE]
                ]
            )  # fmt: skip

    async def _numbered(self, lane: int, namespace: str) -> AsyncIterator[bytes]:
        cursor = b"0"
        while True:
            scan: RedisCommand = ("HSCAN", self._keys.counts(lane, namespace), cursor, "COUNT", _AT_ONCE)
            [[cursor, flat]] = await self._connections.run(scan)
            for room in flat[::2]:
                yield room
            if cursor == b"0":
                return

    async def _found(self, kind: str) -> AsyncIterator[tuple[int, list[str]]]:
        """All keys PREFIX:{lane:N}:KIND:NAME, some at a time: a lane, and names. Looks through the whole of Redis."""
        start = literally(f"{self._keys.prefix}:{{lane:".encode())
        cursor = b"0"
        while True:
            scan: RedisCommand = ("SCAN", cursor, "MATCH", start + b"*}:" + kind.encode() + b":*", "COUNT", _AT_ONCE)
            [[cursor, found]] = await self._connections.run(scan)
            names: dict[int, list[str]] = {}
            for lane in range(self._lanes):
                begin = f"{self._keys.of_lane(lane)}{kind}:"
                names[lane] = [key.decode()[len(begin) :] for key in found if key.startswith(begin.encode())]
            for lane, of_lane in names.items():
                if of_lane:
                    yield lane, of_lane
            if cursor == b"0":
                return

    async def _answer(self, question: Question[_T]) -> _T:
        try:
            commands = next(question)
            while True:
                commands = question.send(await self._connections.run(*commands))
        except StopIteration as end:
            answer: _T = end.value
            return answer
