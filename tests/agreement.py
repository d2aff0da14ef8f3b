"""Who is in which room, as several places know it: the room index, the io-nodes' hubs, the records, the app-nodes.

    differences({"records": ..., "hubs": ...})        where they differ; [] once all agree

Each place gives the members of each room, by sid. What is on its way makes places differ for a moment: ask until they
agree, and fail with the differences where they do not.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from sio_cluster.protocol.ids import lane_of
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.rooms import encode_room

Members: TypeAlias = dict[str, set[str]]
"""Room -> the sids of its members."""


def differences(places: Mapping[str, Members]) -> list[str]:
    """One line for each room and client of which the places say different things: who has it in there, who has not."""
    found = []
    rooms = sorted({room for members in places.values() for room in members})
    for room in rooms:
        views = {place: members.get(room, set()) for place, members in places.items()}
        for sid in sorted(set().union(*views.values())):
            inside = [place for place, members in views.items() if sid in members]
            if len(inside) < len(views):
                others = [place for place in views if place not in inside]
                found.append(f"{sid} in {room}: yes say {', '.join(inside)}; no say {', '.join(others)}")
    return found


def members_by(clients: Iterable[tuple[str, Iterable[str]]]) -> Members:
    """The members of each room, from clients and the rooms of each."""
    members: Members = {}
    for sid, rooms in clients:
        for room in rooms:
            members.setdefault(room, set()).add(sid)
    return members


async def by_index(bus: RedisBus, rooms: Collection[str], lanes: int, namespace: str = "/") -> Members:
    """The members of these rooms in the index of Redis itself, whatever the records say."""
    keys = bus.keys
    members: Members = {}
    for room in rooms:
        sets = await bus.connections.run(
            *[("SMEMBERS", keys.room(lane, namespace, encode_room(room).decode())) for lane in range(lanes)]
        )
        members[room] = {sid.decode() for of_lane in sets for sid in of_lane}
    return members


async def wrong_numbers(bus: RedisBus, index: Members, lanes: int, namespace: str = "/") -> list[str]:
    """Where the numbers of the index differ from its own lists: how many members of these rooms are connected. And who
    stands in the list of another lane than its own."""
    keys = bus.keys
    lists = await bus.connections.run(
        *[("ZRANGE", keys.here(lane, namespace), "-", "+", "BYLEX") for lane in range(lanes)]
    )
    places = [(sid.decode(), lane) for lane, of_lane in enumerate(lists) for sid in of_lane]
    found = [f"{sid} stands in lane {lane}" for sid, lane in places if lane_of(sid, lanes) != lane]
    here = {sid for sid, _ in places}
    counts = await bus.room_index.counts(namespace)
    for room, members in index.items():
        connected = len(members & here)
        if counts.get(room, 0) != connected:
            found.append(f"{room}: the index counts {counts.get(room, 0)} connected clients, and has {connected}")
    return found
