"""What clients show in rooms: `api.presences.Presences`."""

from collections.abc import Sequence

import msgspec

from sio_cluster.protocol.ids import lane_behind, lane_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.presences import NEWS_COUNT, REF_LENGTH, Meta, News, ShowResult
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.rooms import encode_room
from sio_cluster.streams.redis.scripts.presences import HIDE, NEWS, SHOW
from sio_cluster.streams.redis.scripts.script import Script

_Shown = tuple[str, Room, str, bytes]
_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[_Shown] = msgspec.msgpack.Decoder(tuple[str, str | int, str, bytes])


class RedisPresences:
    """A hash for each room and lane, and a stream of news for each lane, in the slots of lanes."""

    def __init__(self, connections: Connections, keys: Keys, lanes: int) -> None:
        self._connections = connections
        self._keys = keys
        self._lanes = lanes

    async def show(self, sid: str, meta: Meta, linger_ms: int, lease: Lease | None = None) -> ShowResult:
        what = (meta.ref, encode_shown(meta), linger_ms)
        return await self._change(SHOW, sid, meta.namespace, meta.room, what, lease)

    async def hide(self, sid: str, namespace: str, room: Room, lease: Lease | None = None) -> ShowResult:
        return await self._change(HIDE, sid, namespace, room, (), lease)

    async def metas(self, namespace: str, room: Room) -> list[Meta]:
        name = encode_room(room).decode()
        parts = await self._connections.run(
            *[("HVALS", self._keys.metas(lane, namespace, name)) for lane in range(self._lanes)]
        )
        return [decode_meta(stored) for part in parts for stored in part]

    async def news(self, leases: Sequence[Lease]) -> list[list[News]]:
        keys = self._keys
        if not leases or not await self._may_be_news([lease.lane for lease in leases]):
            return [[] for _ in leases]
        answers = await self._connections.run(
            *[
                call(
                    NEWS,
                    (keys.leaving(lease.lane), keys.news(lease.lane), keys.lease(lease.lane)),
                    keys.of_lane(lease.lane), NEWS_COUNT, lease.node_id, lease.token,
                )
                for lease in leases
            ]
        )  # fmt: skip
        return [
            []
            if found == ShowResult.FENCED.value
            else [News(entry_id, sign == b"+", decode_meta(stored)) for entry_id, [sign, stored] in found]
            for found in answers
        ]

    async def _may_be_news(self, lanes: Sequence[int]) -> bool:
        """Whether news of one of these lanes wait, or somebody is away who shows something. Costs Redis two commands:
        in most clusters nobody ever shows anything.
        """
        keys = self._keys
        waiting, leaving = await self._connections.run(
            ("XREAD", "COUNT", 1, "STREAMS", *map(keys.news, lanes), *["0"] * len(lanes)),
            ("EXISTS", *map(keys.leaving, lanes)),
        )
        return bool(waiting or leaving)

    async def told(self, lease: Lease, news: Sequence[News]) -> None:
        if news:
            await self._connections.run(("XDEL", self._keys.news(lease.lane), *[one.id for one in news]))

    async def _change(
        self, script: Script, sid: str, namespace: str, room: Room, what: tuple[str | bytes | int, ...],
        lease: Lease | None,
    ) -> ShowResult:  # fmt: skip
        lane = lane_of(sid, self._lanes)
        keys: tuple[str, ...] = (self._keys.client(lane, sid), self._keys.rooms(lane, sid))
        arguments = (sid, self._keys.of_lane(lane), namespace, encode_room(room), *what)
        if lease is not None and lane_behind(lease.lane) == lane:
            keys, arguments = (*keys, self._keys.lease(lease.lane)), (*arguments, lease.node_id, lease.token)
        [result] = await self._connections.run(call(script, keys, *arguments))
        return ShowResult(result)


def encode_shown(meta: Meta) -> bytes:
    """All but its ref."""
    return _encode((meta.namespace, meta.room, meta.key, meta.data))


def decode_meta(stored: bytes) -> Meta:
    """What stands in a hash or a stream: the ref, and then the rest."""
    return Meta(*_decoder.decode(stored[REF_LENGTH:]), stored[:REF_LENGTH].decode())
