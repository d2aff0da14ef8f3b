"""What outlasts app-nodes: a client's connect, its session and its rooms."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_behind, lane_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.protocol.recovery import is_same
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import (
    Accepted,
    ChangeResult,
    Claim,
    ClaimRefused,
    ClientRecord,
    Ended,
    Joined,
    Left,
    RecordChange,
    Restoring,
    Upgraded,
    io_node_of,
    paired,
)
from sio_cluster.streams.redis.absences import Absences, traces
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.fields import decode_connected, encode_connected, holder_of
from sio_cluster.streams.redis.rooms import encode_room
from sio_cluster.streams.redis.scripts.homes import HOLD
from sio_cluster.streams.redis.scripts.records import (
    ACCEPT,
    CLAIM_SESSION,
    FORGET,
    JOIN,
    LEAVE,
    RENOUNCE,
    SET_FIELD,
    STORE,
    UPGRADE,
)
from sio_cluster.streams.redis.scripts.script import Script
from sio_cluster.streams.redis.stored import decode_record, read_record

_SWEPT_WITHIN_MS = 3_600_000
"""For how long the record of a client whose time is over waits for `away`. If no app-node was there for so long, Redis
removes it by itself, but not out of the room index."""

CLIENTS_AT_ONCE = 500
"""How many clients `clients_of` asks for in one go: to ask for 20,000 takes 80 ms of the event loop."""

_FENCED, _LATER = -1, -2

_RESULTS = {-1: ChangeResult.FENCED, 0: ChangeResult.GONE, 1: ChangeResult.DONE}
"""By the number that the scripts answer."""


class RedisClientRecords:
    """`api.records.ClientRecords`: one hash and one set for each client, in the slot of the client's lane.

    In the same slot is the lane's part of the room index, which the same scripts keep.
    """

    def __init__(self, connections: Connections, keys: Keys, lanes: int) -> None:
        self._connections = connections
        self._keys = keys
        self._lanes = lanes
        self._absences = Absences(connections, keys, lanes)

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        sids_of: dict[str, list[str]] = defaultdict(list)
        stores: list[RedisCommand] = []
        for client in connected:
            sids_of[holder_of(client)].append(client.sid)
            how = (client.generation, encode_connected(client), client.namespace, client.transport, holder_of(client))
            stores.append(call(STORE, (self._client(client.sid),), *how, client.pid_hash))
        # First who holds them: a record that stands in no list would outlast its io-node.
        holds: list[RedisCommand] = [("SADD", self._keys.clients(node), *sids) for node, sids in sids_of.items()]
        elsewhere = [self._absences.goes(client.sid, "inf") for client in connected if client.holder]
        await self._connections.run(*holds, *elsewhere, *stores)

    async def load(self, sid: str) -> ClientRecord | None:
        return decode_record(*await self._connections.run(*read_record(self._keys, self._lanes, sid)))

    async def forget(self, clients: Sequence[Ended], leases: Sequence[Lease | None] = ()) -> int:
        # First they are listed as away. If a crash or a lost answer leaves it at that, `away` corrects the list.
        kept = [(ended, lease) for ended, lease in paired(clients, leases) if ended.keep_ms]
        homes = await self._connections.run(*[self._absences.goes(ended.sid, ended.keep_ms) for ended, _ in kept])
        homeless = {ended.sid for (ended, _), there in zip(kept, homes, strict=True) if not there}
        ends = [replace(ended, keep_ms=0) if ended.sid in homeless else ended for ended in clients]
        holders = await self._connections.run(*[self._forget(ended, lease) for ended, lease in paired(ends, leases)])
        gone: list[str] = []
        left: list[tuple[str, str]] = []
        removals: list[RedisCommand] = []
        for ended, holder in zip(ends, holders, strict=True):
            if holder in (_FENCED, _LATER):
                continue
            if holder and ended.keep_ms:
                left.append((ended.sid, holder.decode()))
                continue
            gone.append(ended.sid)
            if holder and holder != io_node_of(ended.sid).encode():
                removals.append(("SREM", self._keys.clients(holder.decode()), ended.sid))
        await self._connections.run(*removals, *traces(self._keys, gone))
        await self._absences.leave_lists(left)
        return holders.count(_FENCED)

    async def claim(self, sid: str, namespace: str, pid_hash: bytes, holder: str) -> Claim | ClaimRefused:
        client, home = self._client(sid), io_node_of(sid)
        [known] = await self._connections.run(("HMGET", client, "namespace", "pid"))
        if known[0] is None or not known[1]:
            return ClaimRefused.GONE
        if known[0] != namespace.encode() or not is_same(known[1], pid_hash):
            return ClaimRefused.WRONG  # before anything is written: who shows any sid must not fill our lists
        # First who holds it, so that its burial finds the client. `clients_of` leaves it out until it is so.
        hold = call(HOLD, (self._keys.clients(holder),), sid)
        whose = (namespace, pid_hash, holder, home, sid, self._of_lane(sid))
        claim = call(CLAIM_SESSION, self._of_client(sid), *whose)
        _, claimed = await self._connections.run(hold, claim)
        if isinstance(claimed, bytes):
            await self._absences.correct(holder, [sid])
            return ClaimRefused(claimed.decode())
        encoded, generation, former = claimed[0], int(claimed[1]), claimed[2].decode()
        # Then its home's list, so that the home stays; and last the former holder's. A crash before leaves the client
        # in one list too many: `away` corrects the one, `clients_of` looks into the record.
        at_home = ("ZREM", self._keys.away(home), sid) if holder == home else self._absences.goes(sid, "inf")
        await self._connections.run(at_home)
        if former not in ("", holder):
            await self._absences.leave_lists([(sid, former)])
        return Claim(decode_connected(encoded, holder.encode(), claimed[1]), generation, former)

    async def renounce(self, sessions: Sequence[tuple[str, int]]) -> None:
        await self._connections.run(*[call(RENOUNCE, (self._client(sid),), number) for sid, number in sessions])

    async def away(self, home: str) -> int:
        return await self._absences.sweep(home)

    async def overdue(self, home: str) -> list[tuple[str, int, str]]:
        return await self._absences.overdue(home)

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
        return [_RESULTS[result] for result in await self._connections.run(*commands)]

    async def clients_of(self, node_id: str) -> list[tuple[str, int]]:
        [members] = await self._connections.run(("SMEMBERS", self._keys.clients(node_id)))
        sids = sorted(member.decode() for member in members)
        held: list[tuple[str, int]] = []
        for start in range(0, len(sids), CLIENTS_AT_ONCE):
            held += await self._held_by(node_id, sids[start : start + CLIENTS_AT_ONCE])
        return held

    async def _held_by(self, node_id: str, sids: Sequence[str]) -> list[tuple[str, int]]:
        """Those of these clients that the io-node holds. Every record has a namespace."""
        fields = ("namespace", "holder", "generation", "away")
        records = await self._connections.run(*[("HMGET", self._client(sid), *fields) for sid in sids])
        return [
            (sid, int(generation or 0))
            for sid, (namespace, holder, generation, away) in zip(sids, records, strict=True)
            if namespace is not None and away is None and (holder or io_node_of(sid).encode()) == node_id.encode()
        ]

    async def are_there(self, sids: Sequence[str]) -> set[str]:
        """Those of these clients that have a record."""
        found = await self._connections.run(*[("EXISTS", self._client(sid)) for sid in sids])
        return {sid for sid, there in zip(sids, found, strict=True) if there}

    async def correct_list(self, node_id: str, sids: Sequence[str]) -> None:
        """As `Absences.correct`."""
        await self._absences.correct(node_id, sids)

    def _change(self, change: RecordChange, lease: Lease | None) -> RedisCommand:
        sid = change.sid
        lane = self._lane(sid)
        match change:
            case Accepted(generation=generation):
                return self._fenced(ACCEPT, self._of_client(sid), (sid, self._of_lane(sid), generation), lane, lease)
            case Joined(namespace=namespace, room=room):
                arguments = (sid, self._of_lane(sid), namespace, encode_room(room))
                return self._fenced(JOIN, self._of_client(sid), arguments, lane, lease)
            case Left(namespace=namespace, room=room):
                left = (sid, self._of_lane(sid), namespace, encode_room(room))
                return self._fenced(LEAVE, self._of_client(sid), left, lane, lease)
            case Upgraded(transport=transport, generation=generation):
                return self._fenced(UPGRADE, (self._client(sid),), (transport, generation), lane, lease)
            case Restoring(begun=begun):
                return self._fenced(SET_FIELD, (self._client(sid),), ("restoring", int(begun)), lane, lease)
            case _:
                assert_never(change)

    def _forget(self, ended: Ended, lease: Lease | None) -> RedisCommand:
        sid, keep_ms = ended.sid, ended.keep_ms
        stays_ms = keep_ms + _SWEPT_WITHIN_MS
        who = (sid, self._of_lane(sid), io_node_of(sid), ended.generation, keep_ms, stays_ms, ended.untold)
        return self._fenced(FORGET, self._of_client(sid), who, self._lane(sid), lease)

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

    def _of_lane(self, sid: str) -> str:
        """How all keys of this client's lane begin."""
        return self._keys.of_lane(self._lane(sid))
