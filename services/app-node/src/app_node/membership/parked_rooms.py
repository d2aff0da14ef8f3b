"""What the commands in the log of a parked home say of its clients' rooms."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import assert_never

from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    Canary,
    CloseRoom,
    Command,
    Disconnect,
    DisconnectMany,
    Emit,
    Evict,
    Join,
    JoinMany,
    Leave,
    LeaveMany,
    Refuse,
    Room,
)
from sio_cluster.protocol.recovery import parse_offset
from sio_cluster.streams.api.homes import Homes
from sio_cluster.streams.api.inboxes import RoomOp
from sio_cluster.streams.api.records import ClientRecords

AT_ONCE = 200
"""How many clients are asked for at a time."""


class HorizonMoved(Exception):
    """Somebody else has removed entries of the log."""


class ParkedRooms:
    """Turns commands into changes of rooms.

    A `CloseRoom` concerns each member. Who that is, is read from Redis when the first one comes, and known after that.
    """

    def __init__(self, home: str, homes: Homes, records: ClientRecords) -> None:
        self._home = home
        self._homes = homes
        self._records = records
        self._members: _Members | None = None

    async def ops(self, commands: Sequence[Command], horizon: bytes) -> list[RoomOp]:
        """What these commands, which come right behind the horizon, change. Raises HorizonMoved and BusError."""
        if self._members is None and any(isinstance(command, CloseRoom) for command in commands):
            self._members = await self._read(horizon)
        members = self._members
        ops: list[RoomOp] = []
        for command in commands:
            known = len(ops)
            match command:
                case Accept(sid=sid):
                    ops.append(RoomOp(sid, sid, True))
                case Join(sid=sid, room=room) | Leave(sid=sid, room=room):
                    inside = isinstance(command, Join)
                    ops.append(RoomOp(sid, room, inside))
                case JoinMany(sids=sids, rooms=rooms) | LeaveMany(sids=sids, rooms=rooms):
                    inside = isinstance(command, JoinMany)
                    ops += [RoomOp(sid, room, inside) for sid in sids for room in rooms]
                case CloseRoom(namespace=namespace, room=room):
                    if members is not None:
                        ops += [RoomOp(sid, room, False) for sid in sorted(members.close(namespace, room))]
                case Emit() | Ack() | Refuse() | Disconnect() | DisconnectMany() | Evict() | Canary():
                    pass  # concerns nobody's rooms
                case _:
                    assert_never(command)
            if members is not None:
                for op in ops[known:]:
                    members.change(op.sid, op.room, inside=op.inside)
        return ops

    async def _read(self, horizon: bytes) -> "_Members":
        """The rooms at the horizon of all clients that may come back."""
        gone = [sid for sid, _ in await self._records.clients_of(self._home)]  # their disconnects are on their way
        sids = sorted({*gone, *await self._homes.absent(self._home)})
        members = _Members()
        for start in range(0, len(sids), AT_ONCE):
            await asyncio.gather(*[self._read_one(sid, horizon, members) for sid in sids[start : start + AT_ONCE]])
        return members

    async def _read_one(self, sid: str, horizon: bytes, members: "_Members") -> None:
        record = await self._records.load(sid)
        if record is None:
            return
        at = await self._homes.rooms(self._home, sid, parse_offset(record.connected.since))
        if at is None:
            return
        if at.horizon != horizon:
            raise HorizonMoved
        members.namespaces[sid] = record.connected.namespace
        for room in at.rooms:
            members.change(sid, room, inside=True)


class _Members:
    """Who is in which room. A room belongs to a namespace, and so does a client."""

    def __init__(self) -> None:
        self.namespaces: dict[str, str] = {}
        self._rooms: dict[tuple[str, Room], set[str]] = defaultdict(set)

    def change(self, sid: str, room: Room, *, inside: bool) -> None:
        namespace = self.namespaces.get(sid)
        if namespace is None:  # gone for good
            return
        if inside:
            self._rooms[namespace, room].add(sid)
        elif (members := self._rooms.get((namespace, room))) is not None:
            members.discard(sid)
            if not members:
                del self._rooms[namespace, room]

    def close(self, namespace: str, room: Room) -> set[str]:
        """Empties the room. Returns who was in it."""
        return self._rooms.pop((namespace, room), set())
