"""What outlasts app-nodes: a client's connect, its session and its rooms."""

from collections import defaultdict
from collections.abc import Sequence
from typing import assert_never

import msgspec

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.api import (
    Accepted,
    ClientRecord,
    Joined,
    Lease,
    Left,
    RecordChange,
    Upgraded,
    io_node_of,
    paired,
)
from sio_cluster.streams.redis.connection import Command
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.scripts import FORGET, JOIN, LEAVE, SET_FIELD, Script

_encode_connected = msgspec.msgpack.Encoder().encode
_decode_connected = msgspec.msgpack.Decoder(ClientConnected).decode
_encode_room = msgspec.json.Encoder().encode  # so that the rooms 42 and "42" differ
_decode_room = msgspec.json.Decoder(str | int).decode


class RedisClientRecords:
    """`api.ClientRecords`: one hash and one set for each client, in the slot of the client's lane."""

    def __init__(self, connections: Connections, keys: Keys, lanes: int) -> None:
        self._connections = connections
        self._keys = keys
        self._lanes = lanes

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        commands: list[Command] = []
        sids_of: dict[str, list[str]] = defaultdict(list)
        for client in connected:
            sids_of[io_node_of(client.sid)].append(client.sid)
            key = self._client(client.sid)
            commands.append(("HSET", key, "connected", _encode_connected(client), "transport", client.transport))
        for node, sids in sids_of.items():
            commands.insert(0, ("SADD", self._keys.clients(node), *sids))
        await self._connections.run(*commands)

    async def load(self, sid: str) -> ClientRecord | None:
        fields, rooms = await self._connections.run(
            ("HMGET", self._client(sid), "connected", "session", "accepted", "transport"),
            ("SMEMBERS", self._rooms(sid)),
        )
        encoded, session, accepted, transport = fields
        if encoded is None:
            return None
        connected = _decode_connected(encoded)
        return ClientRecord(connected, session, set(map(_decode_room, rooms)), accepted == b"1", transport.decode())

    async def forget(self, sids: Sequence[str], leases: Sequence[Lease | None] = ()) -> int:
        forgotten = await self._connections.run(
            *[
                self._fenced(FORGET, (self._client(sid), self._rooms(sid)), (), sid, lease)
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
        command = self._fenced(SET_FIELD, (self._client(sid),), ("session", session), sid, lease)
        [saved] = await self._connections.run(command)
        if saved == -1:
            raise LeaseLost(f"the lane of {sid} is no longer held: another app-node goes on with it")
        return bool(saved)

    async def load_session(self, sid: str) -> bytes | None:
        session: bytes | None = (await self._connections.run(("HGET", self._client(sid), "session")))[0]
        return session

    async def update(self, changes: Sequence[RecordChange], leases: Sequence[Lease | None] = ()) -> int:
        commands = [self._change(change, lease) for change, lease in paired(changes, leases)]
        replies = await self._connections.run(*commands)
        return replies.count(-1)

    async def clients_of(self, node_id: str) -> list[str]:
        [sids] = await self._connections.run(("SMEMBERS", self._keys.clients(node_id)))
        return sorted(sid.decode() for sid in sids)

    async def forget_node(self, node_id: str) -> None:
        await self._connections.run(("UNLINK", self._keys.clients(node_id)))

    def _change(self, change: RecordChange, lease: Lease | None) -> Command:
        sid = change.sid
        client, rooms = self._client(sid), self._rooms(sid)
        match change:
            case Accepted():
                return self._fenced(SET_FIELD, (client,), ("accepted", 1), sid, lease)
            case Joined(room=room):
                return self._fenced(JOIN, (client, rooms), (_encode_room(room),), sid, lease)
            case Left(room=room):
                return self._fenced(LEAVE, (rooms,), (_encode_room(room),), sid, lease)
            case Upgraded(transport=transport):
                return self._fenced(SET_FIELD, (client,), ("transport", transport), sid, lease)
            case _:
                assert_never(change)

    def _fenced(
        self, script: Script, keys: tuple[str, ...], arguments: tuple[str | bytes | int, ...], sid: str,
        lease: Lease | None,
    ) -> Command:  # fmt: skip
        if lease is None or lease.lane != lane_of(sid, self._lanes):
            return call(script, keys, *arguments)
        return call(script, (*keys, self._keys.lease(lease.lane)), *arguments, lease.node_id, lease.token)

    def _client(self, sid: str) -> str:
        return self._keys.client(lane_of(sid, self._lanes), sid)

    def _rooms(self, sid: str) -> str:
        return self._keys.rooms(lane_of(sid, self._lanes), sid)
