"""Selections of clients: `api.selections.Selections`."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_behind, lane_of, node_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.registry import Registry
from sio_cluster.streams.api.selections import LEFT_MS, Candidates, Cursor, Matched, RoomsChange, Selection
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.rooms import encode_room
from sio_cluster.streams.redis.scripts.selections import SELECT

_SETS_AT_ONCE: Final = 16
"""So many sets are looked through in one round trip."""
_MEMBERS_AT_ONCE: Final = 100
"""And about so many members of each: a small set gives all that it has, up to 128."""
_SIDS_AT_ONCE: Final = 1_000
"""So many of the sids that a selection names."""


@dataclass(frozen=True, slots=True)
class _Place(Cursor):
    """What has not been looked through: sids that the selection names, and sets, each with how to go on in it."""

    sids: tuple[str, ...]
    sets: tuple[tuple[str, str, bytes], ...]  # SSCAN or ZSCAN, the key, the cursor that Redis gave


class RedisSelections:
    """Goes through the room index; where all clients of a namespace are meant, through the lists of who is held by
    which io-node, and who is away."""

    def __init__(self, connections: Connections, keys: Keys, lanes: int, registry: Registry) -> None:
        self._connections = connections
        self._keys = keys
        self._lanes = lanes
        self._registry = registry

    async def candidates(
        self, selection: Selection, cursor: Cursor | None = None, *, left: Sequence[Room] = ()
    ) -> Candidates:
        if cursor is None:
            place = await self._begin(selection, left)
        else:
            assert isinstance(cursor, _Place)
            place = cursor
        sids, sets = place.sids[:_SIDS_AT_ONCE], place.sets[:_SETS_AT_ONCE]
        found = dict.fromkeys(sids)
        unread = []
        scans: list[RedisCommand] = [(scan, key, at, "COUNT", _MEMBERS_AT_ONCE) for scan, key, at in sets]
        for (scan, key, _), (at, members) in zip(sets, await self._connections.run(*scans), strict=True):
            found.update((member.decode(), None) for member in (members if scan == "SSCAN" else members[::2]))
            if at != b"0":
                unread.append((scan, key, at))
        rest = _Place(place.sids[len(sids) :], (*unread, *place.sets[len(sets) :]))
        return Candidates(list(found), rest if rest.sids or rest.sets else None)

    async def change(
        self,
        selection: Selection,
        sids: Sequence[str],
        change: RoomsChange | None = None,
        lease: Lease | None = None,
        *,
        again: bool = False,
    ) -> Matched:
        by_lane: dict[int, list[str]] = defaultdict(list)
        for sid in set(sids).difference(_sids(selection.except_rooms)):
            by_lane[lane_of(sid, self._lanes)].append(sid)
        lists = _lists(selection, change)
        scripts = [
            self._select(lane, selection.namespace, change, lease, again, (*lists, *_listed(selection, of_lane)))
            for lane, of_lane in by_lane.items()
        ]
        matched = Matched()
        fenced = False
        for answer in await self._connections.run(*scripts):
            if answer == -1:
                fenced = True
                continue
            here, away = answer
            matched.here.extend(sid.decode() for sid in here)
            matched.away.extend(sid.decode() for sid in away)
        if fenced:
            raise LeaseLost("rooms were not changed: another app-node holds the lane")
        return matched

    async def _begin(self, selection: Selection, left: Sequence[Room]) -> _Place:
        keys = self._keys
        if selection.to is None:
            homes = await self._registry.registered_io_nodes()
            lists = [(("SSCAN", keys.clients(home), b"0"), ("ZSCAN", keys.away(home), b"0")) for home in homes]
            return _Place((), tuple(one for of_home in lists for one in of_home))
        return _Place(
            tuple(_sids(selection.to)),
            tuple(
                ("SSCAN", key(lane, selection.namespace, encode_room(room).decode()), b"0")
                for key, rooms in ((keys.room, _rooms(selection.to)), (keys.left, left))
                for room in rooms
                for lane in range(self._lanes)
            ),
        )

    def _select(
        self,
        lane: int,
        namespace: str,
        change: RoomsChange | None,
        lease: Lease | None,
        again: bool,
        arguments: tuple[str | bytes | int, ...],
    ) -> RedisCommand:
        keys = self._keys
        mine = lease is not None and lane_behind(lease.lane) == lane
        node, token = (lease.node_id, lease.token) if lease is not None and mine else ("", 0)
        what = "" if change is None else "enter" if change.inside else "leave"
        return call(
            SELECT,
            (keys.lease(lease.lane if lease is not None and mine else lane),),
            node,
            token,
            keys.of_lane(lane),
            namespace,
            what,
            "again" if again else "",
            LEFT_MS,
            *arguments,
        )


def _lists(selection: Selection, change: RoomsChange | None) -> tuple[str | bytes | int, ...]:
    """The four lists of rooms, each with its length before it."""
    of_change: list[Sequence[Room]] = [(), ()] if change is None else [change.rooms, change.noted]
    lists = [_rooms(selection.to or ()), _rooms(selection.except_rooms), *of_change]
    arguments: list[str | bytes | int] = []
    for rooms in lists:
        arguments += [len(rooms), *map(encode_room, rooms)]
    return tuple(arguments)


def _listed(selection: Selection, sids: Sequence[str]) -> tuple[str | int, ...]:
    """First those that need be in no room, after their number."""
    named = set(sids) if selection.to is None else _sids(selection.to).intersection(sids)
    return (len(named), *named, *(sid for sid in sids if sid not in named))


def _sids(rooms: Sequence[Room]) -> set[str]:
    return {room for room in rooms if isinstance(room, str) and node_of(room) is not None}


def _rooms(rooms: Sequence[Room]) -> list[Room]:
    """Those that are no sids."""
    return [room for room in rooms if not isinstance(room, str) or node_of(room) is None]
