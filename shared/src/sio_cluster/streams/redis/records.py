"""What outlasts app-nodes: a client's connect, its session and its rooms."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, assert_never

import msgspec

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_of, node_of
from sio_cluster.protocol.messages import ClientConnected, Room
from sio_cluster.streams.redis.bus import Bus, call
from sio_cluster.streams.redis.connection import Command
from sio_cluster.streams.redis.scripts import FORGET, JOIN, LEAVE, SET_FIELD, Script

_encode_connected = msgspec.msgpack.Encoder().encode
_decode_connected = msgspec.msgpack.Decoder(ClientConnected).decode
_encode_room = msgspec.json.Encoder().encode  # so that the rooms 42 and "42" differ
_decode_room = msgspec.json.Decoder(str | int).decode

_T = TypeVar("_T")


@dataclass(slots=True)
class ClientRecord:
    """All that Redis knows about one client. `session` is what `save_session` stored, still encoded."""

    connected: ClientConnected
    session: bytes | None
    rooms: set[Room]
    accepted: bool
    transport: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The application let the client in."""

    sid: str


@dataclass(frozen=True, slots=True)
class Joined:
    sid: str
    room: Room


@dataclass(frozen=True, slots=True)
class Left:
    sid: str
    room: Room


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The client's connection moved to another transport."""

    sid: str
    transport: str


RecordChange: TypeAlias = Accepted | Joined | Left | Upgraded


@dataclass(frozen=True, slots=True)
class Under:
    """The lease on whose behalf a record is changed: of no effect once that is lost.

    It fences changes of its own lane's clients. Those of other lanes are not fenced: their leases are elsewhere.
    """

    lane: int
    holder: str
    token: int


class ClientRecords:
    """The records of all clients: one hash and one set each, in the slot of the client's lane.

    A change to a client that is gone has no effect.
    """

    def __init__(self, bus: Bus, lanes: int) -> None:
        self._bus = bus
        self._lanes = lanes

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        """Enters new clients. The io-node calls it before it appends their `ClientConnected`.

        Repeating it keeps what the record has gained meanwhile (session, accepted, rooms).
        """
        commands: list[Command] = []
        sids_of: dict[str, list[str]] = defaultdict(list)
        for client in connected:
            sids_of[owner_of(client.sid)].append(client.sid)
            key = self._client(client.sid)
            commands.append(("HSET", key, "connected", _encode_connected(client), "transport", client.transport))
        for node, sids in sids_of.items():
            commands.insert(0, ("SADD", self._bus.keys.clients(node), *sids))
        await self._bus.run(*commands)

    async def load(self, sid: str) -> ClientRecord | None:
        """The client's record, None when it is gone."""
        fields, rooms = await self._bus.run(
            ("HMGET", self._client(sid), "connected", "session", "accepted", "transport"),
            ("SMEMBERS", self._rooms(sid)),
        )
        encoded, session, accepted, transport = fields
        if encoded is None:
            return None
        connected = _decode_connected(encoded)
        return ClientRecord(connected, session, set(map(_decode_room, rooms)), accepted == b"1", transport.decode())

    async def forget(self, sids: Sequence[str], under: Sequence[Under | None] = ()) -> int:
        """Removes clients that have disconnected. How many were left alone since their lease is lost."""
        forgotten = await self._bus.run(
            *[
                self._fenced(FORGET, (self._client(sid), self._rooms(sid)), (), sid, lease)
                for sid, lease in paired(sids, under)
            ]
        )
        sids_of: dict[str, list[str]] = defaultdict(list)
        for sid, done in zip(sids, forgotten, strict=True):
            if done != -1:
                sids_of[owner_of(sid)].append(sid)
        await self._bus.run(*[("SREM", self._bus.keys.clients(node), *gone) for node, gone in sids_of.items()])
        return forgotten.count(-1)

    async def save_session(self, sid: str, session: bytes, under: Under | None = None) -> bool:
        """False when the client is gone. Raises LeaseLost."""
        [saved] = await self._bus.run(self._fenced(SET_FIELD, (self._client(sid),), ("session", session), sid, under))
        if saved == -1:
            raise LeaseLost(f"the lane of {sid} is no longer held: another app-node goes on with it")
        return bool(saved)

    async def load_session(self, sid: str) -> bytes | None:
        """None when nothing was saved or the client is gone."""
        session: bytes | None = (await self._bus.run(("HGET", self._client(sid), "session")))[0]
        return session

    async def update(self, changes: Sequence[RecordChange], under: Sequence[Under | None] = ()) -> int:
        """Applies these changes in order, in one round trip. How many had no effect since their lease is lost."""
        replies = await self._bus.run(*[self._change(change, lease) for change, lease in paired(changes, under)])
        return replies.count(-1)

    async def clients_of(self, node_id: str) -> list[str]:
        """The sids that this io-node holds."""
        [sids] = await self._bus.run(("SMEMBERS", self._bus.keys.clients(node_id)))
        return sorted(sid.decode() for sid in sids)

    async def forget_node(self, node_id: str) -> None:
        """Removes the list of this io-node's clients (not their records)."""
        await self._bus.run(("UNLINK", self._bus.keys.clients(node_id)))

    def _change(self, change: RecordChange, under: Under | None) -> Command:
        sid = change.sid
        client, rooms = self._client(sid), self._rooms(sid)
        match change:
            case Accepted():
                return self._fenced(SET_FIELD, (client,), ("accepted", 1), sid, under)
            case Joined(room=room):
                return self._fenced(JOIN, (client, rooms), (_encode_room(room),), sid, under)
            case Left(room=room):
                return self._fenced(LEAVE, (rooms,), (_encode_room(room),), sid, under)
            case Upgraded(transport=transport):
                return self._fenced(SET_FIELD, (client,), ("transport", transport), sid, under)
            case _:
                assert_never(change)

    def _fenced(
        self, script: Script, keys: tuple[str, ...], arguments: tuple[str | bytes | int, ...], sid: str,
        under: Under | None,
    ) -> Command:  # fmt: skip
        if under is None or under.lane != lane_of(sid, self._lanes):
            return call(script, keys, *arguments)
        return call(script, (*keys, self._bus.keys.lease(under.lane)), *arguments, under.holder, under.token)

    def _client(self, sid: str) -> str:
        return self._bus.keys.client(lane_of(sid, self._lanes), sid)

    def _rooms(self, sid: str) -> str:
        return self._bus.keys.rooms(lane_of(sid, self._lanes), sid)


def paired(changes: Sequence[_T], under: Sequence[Under | None]) -> Iterator[tuple[_T, Under | None]]:
    """Each change with its lease. ValueError where `under` is given, and not for each."""
    return zip(changes, under or [None] * len(changes), strict=True)


def owner_of(sid: str) -> str:
    """The io-node inside a sid. ValueError where it is none."""
    node = node_of(sid)
    if node is None:
        raise ValueError(f"{sid!r} is not a sid of this cluster")
    return node
