"""What outlasts app-nodes: a client's connect, its session and its rooms."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import assert_never

import msgspec

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_behind, lane_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import (
    Accepted,
    ChangeResult,
    ClientRecord,
    Joined,
    Left,
    RecordChange,
    Restoring,
    RoomClosed,
    Upgraded,
    io_node_of,
    paired,
)
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.scripts.records import CLOSE_ROOM, FORGET, JOIN, LEAVE, SET_FIELD
from sio_cluster.streams.redis.scripts.script import Script

_encode_connected = msgspec.msgpack.Encoder().encode
_decode_connected = msgspec.msgpack.Decoder(ClientConnected).decode
_encode_room = msgspec.json.Encoder().encode  # so that the rooms 42 and "42" differ
_decode_room = msgspec.json.Decoder(str | int).decode

_RESULTS = {-1: ChangeResult.FENCED, 0: ChangeResult.GONE, 1: ChangeResult.DONE}
"""By the number that the scripts answer."""


class RedisClientRecords:
    """`api.records.ClientRecords`: one hash and one set for each client, in the slot of the client's lane.

    In the same slot is one set for each room that has members in this lane: the lane's part of the room index.
    """

    def __init__(self, connections: Connections, keys: Keys, lanes: int) -> None:
        self._connections = connections
        self._keys = keys
        self._lanes = lanes

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        commands: list[RedisCommand] = []
        sids_of: dict[str, list[str]] = defaultdict(list)
        for client in connected:
            sids_of[io_node_of(client.sid)].append(client.sid)
            key = self._client(client.sid)
            connected_at = ("namespace", client.namespace, "transport", client.transport)
            commands.append(("HSET", key, "connected", _encode_connected(client), *connected_at))
        for node, sids in sids_of.items():
            commands.insert(0, ("SADD", self._keys.clients(node), *sids))
        await self._connections.run(*commands)

    async def load(self, sid: str) -> ClientRecord | None:
        fields, rooms = await self._connections.run(
            ("HMGET", self._client(sid), "connected", "session", "accepted", "transport", "restoring"),
            ("SMEMBERS", self._rooms(sid)),
        )
        encoded, session, accepted, transport, restoring = fields
        if encoded is None:
            return None
        connected = _decode_connected(encoded)
        return ClientRecord(
            connected, session, set(map(_decode_room, rooms)), accepted == b"1", transport.decode(), restoring == b"1"
        )

    async def forget(self, sids: Sequence[str], leases: Sequence[Lease | None] = ()) -> int:
        forgotten = await self._connections.run(
            *[
                self._fenced(FORGET, self._of_client(sid), (sid, self._members(sid)), self._lane(sid), lease)
                for sid, lease in paired(sids, leases)
            ]
        )
        sids_of: dict[str, list[str]] = defaultdict(list)
        for sid, done in zip(sids, forgotten, strict=True):
            if done != -1:
                sids_of[io_node_of(sid)].append(sid)
        await self._connections.run(*[("SREM", self._keys.clients(node), *gone) for node, gone in sids_of.items()])
        return forgotten.count(-1)

    async def save_session(self, sid: str, session: bytes, lease: Lease | None = None) -> bool:
        command = self._fenced(SET_FIELD, (self._client(sid),), ("session", session), self._lane(sid), lease)
        [saved] = await self._connections.run(command)
        if saved == -1:
            raise LeaseLost(f"the lane of {sid} is no longer held: another app-node goes on with it")
        return bool(saved)

    async def load_session(self, sid: str) -> bytes | None:
        session: bytes | None = (await self._connections.run(("HGET", self._client(sid), "session")))[0]
        return session

    async def update(self, changes: Sequence[RecordChange], leases: Sequence[Lease | None] = ()) -> list[ChangeResult]:
        commands = [self._change(change, lease) for change, lease in paired(changes, leases)]
        replies = iter(await self._connections.run(*itertools.chain.from_iterable(commands)))
        return [_RESULTS[min(itertools.islice(replies, len(of_change)))] for of_change in commands]

    async def clients_of(self, node_id: str) -> list[str]:
        [sids] = await self._connections.run(("SMEMBERS", self._keys.clients(node_id)))
        return sorted(sid.decode() for sid in sids)

    async def forget_node(self, node_id: str) -> None:
        await self._connections.run(("UNLINK", self._keys.clients(node_id)))

    def _change(self, change: RecordChange, lease: Lease | None) -> list[RedisCommand]:
        if isinstance(change, RoomClosed):
            return [self._close_room(change, lane, lease) for lane in range(self._lanes)]
        sid = change.sid
        lane = self._lane(sid)
        match change:
            case Accepted():
                return [self._fenced(SET_FIELD, (self._client(sid),), ("accepted", 1), lane, lease)]
            case Joined(namespace=namespace, room=room):
                encoded = _encode_room(room)
                keys = (*self._of_client(sid), self._keys.room(lane, namespace, encoded.decode()))
                return [self._fenced(JOIN, keys, (sid, namespace, encoded), lane, lease)]
            case Left(room=room):
                arguments = (sid, self._members(sid), _encode_room(room))
                return [self._fenced(LEAVE, self._of_client(sid), arguments, lane, lease)]
            case Upgraded(transport=transport):
                return [self._fenced(SET_FIELD, (self._client(sid),), ("transport", transport), lane, lease)]
            case Restoring(begun=begun):
                return [self._fenced(SET_FIELD, (self._client(sid),), ("restoring", int(begun)), lane, lease)]
            case _:
                assert_never(change)

    def _close_room(self, change: RoomClosed, lane: int, lease: Lease | None) -> RedisCommand:
        room = _encode_room(change.room)
        key = self._keys.room(lane, change.namespace, room.decode())
        return self._fenced(CLOSE_ROOM, (key,), (self._keys.rooms(lane, ""), room), lane, lease)

    def _fenced(
        self, script: Script, keys: tuple[str, ...], arguments: tuple[str | bytes | int, ...], lane: int,
        lease: Lease | None,
    ) -> RedisCommand:  # fmt: skip
        if lease is None or lane_behind(lease.lane) != lane:
            return call(script, keys, *arguments)
        return call(script, (*keys, self._keys.lease(lease.lane)), *arguments, lease.node_id, lease.token)

    def _lane(self, sid: str) -> int:
        return lane_of(sid, self._lanes)

    def _client(self, sid: str) -> str:
        return self._keys.client(self._lane(sid), sid)

    def _rooms(self, sid: str) -> str:
        return self._keys.rooms(self._lane(sid), sid)

    def _of_client(self, sid: str) -> tuple[str, str]:
        return self._client(sid), self._rooms(sid)

    def _members(self, sid: str) -> str:
        """How the keys begin that hold the members of rooms in this client's lane."""
        return self._keys.members(self._lane(sid))
