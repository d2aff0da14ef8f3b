"""What clients show in rooms, in memory and in Valkey alike."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, Handshake, Room
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.presences import Meta, News, ShowResult
from sio_cluster.streams.api.records import Accepted, Claim, Ended, Joined, Left
from sio_cluster.streams.api.selections import RoomsChange, Selection
from sio_cluster.testing.contract import Cluster

APP1, APP2, IO1, IO2 = "app1-aaaaaa", "app2-aaaaaa", "io1-aaaaaa", "io2-aaaaaa"
PID = b"\x01" * 32
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "example.org")], "192.0.2.1", 4711)
LONG_MS = 60_000


def meta(key: str = "ada", data: bytes = b'{"device":"phone"}', room: Room = "a", namespace: str = "/") -> Meta:
    return Meta(namespace, room, key, data, secrets.token_hex(8))


class World:
    """A cluster in which clients connect, and one who hears the news of all lanes."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.presences, self.records = cluster.presences(), cluster.records()
        self.selections, self.homes = cluster.selections(), cluster.homes()
        self.leases: list[Lease] = []
        self.number = 0

    async def begin(self) -> None:
        for node in (IO1, IO2):
            await self.cluster.registry().register_io_node(node, {})
            await self.cluster.inbox_reader(node, keeps_log=True).read(1)
        self.leases = await self.held_by(APP1)

    async def held_by(self, app_node: str) -> list[Lease]:
        leases = [
            await self.cluster.leases().acquire(lane, app_node, 60_000) for lane in range(self.cluster.config.lanes)
        ]
        assert None not in leases
        return [lease for lease in leases if lease is not None]

    async def client(self, *rooms: Room, namespace: str = "/") -> str:
        self.number += 1
        sid = f"{IO1}.{self.number:016d}"
        await self.records.store([ClientConnected(sid, "c1", namespace, None, HANDSHAKE, "polling", PID)])
        await self.records.update([Accepted(sid), *[Joined(sid, namespace, room) for room in rooms]])
        return sid

    async def shows(self, shown: Meta | None = None, linger_ms: int = LONG_MS) -> tuple[str, Meta]:
        """A client that is in the room and shows this there."""
        shown = shown or meta()
        sid = await self.client(shown.room, namespace=shown.namespace)
        assert await self.presences.show(sid, shown, linger_ms) is ShowResult.DONE
        return sid, shown

    async def news(self) -> list[tuple[bool, Meta]]:
        """All news, each once."""
        heard: list[tuple[bool, Meta]] = []
        while True:
            found = await self.presences.news(self.leases)
            for lease, of_lane in zip(self.leases, found, strict=True):
                heard += [(one.shown, one.meta) for one in of_lane]
                await self.presences.told(lease, of_lane)
            if not any(found):
                return heard

    async def until_news(self) -> list[tuple[bool, Meta]]:
        async with asyncio.timeout(8):
            while not (heard := await self.news()):  # Redis tells nobody
                await asyncio.sleep(0.01)
        return heard


@pytest.fixture
async def world(cluster: Cluster) -> World:
    world = World(cluster)
    await world.begin()
    return world


async def test_what_members_show_is_found_and_is_news(world: World) -> None:
    shown = [(await world.shows(meta(key)))[1] for key in ("ada", "ada", "grace")]
    _, elsewhere = await world.shows(meta(room=7))
    _, in_chat = await world.shows(meta(namespace="/chat"))
    assert sorted(await world.presences.metas("/", "a"), key=lambda one: one.ref) == sorted(
        shown, key=lambda one: one.ref
    )
    assert await world.presences.metas("/", 7) == [elsewhere]
    assert await world.presences.metas("/", "7") == []
    assert await world.presences.metas("/chat", "a") == [in_chat]
    heard = await world.news()
    assert {one.ref for shows, one in heard if shows} == {one.ref for one in (*shown, elsewhere, in_chat)}
    assert len(heard) == 5
    assert await world.news() == []


async def test_what_is_the_same_stays_and_what_is_not_takes_its_place(world: World) -> None:
    sid, first = await world.shows()
    assert await world.presences.show(sid, meta(), LONG_MS) is ShowResult.DONE
    assert await world.presences.metas("/", "a") == [first]
    second = meta(data=b'{"device":"laptop"}')
    assert await world.presences.show(sid, second, LONG_MS) is ShowResult.DONE
    assert await world.presences.metas("/", "a") == [second]
    assert await world.news() == [(True, first), (True, second), (False, first)]


async def leave(world: World, sid: str) -> None:
    await world.records.update([Left(sid, "/", "a")])


async def leave_as_selected(world: World, sid: str) -> None:
    await world.selections.change(Selection("/", ("a",)), [sid], RoomsChange(("a",), inside=False))


async def hide(world: World, sid: str) -> None:
    assert await world.presences.hide(sid, "/", "a") is ShowResult.DONE


async def go(world: World, sid: str) -> None:
    await world.records.forget([Ended(sid)])


@pytest.mark.parametrize("ends", [leave, leave_as_selected, hide, go])
async def test_it_ends_with_the_membership(world: World, ends: Callable[[World, str], Awaitable[None]]) -> None:
    sid, first = await world.shows()
    _, stays = await world.shows()
    await world.news()
    for _ in range(2):  # a repetition changes nothing
        await ends(world, sid)
    assert await world.presences.metas("/", "a") == [stays]
    assert await world.news() == [(False, first)]


async def test_other_rooms_and_joins_do_not_end_it(world: World) -> None:
    sid, first = await world.shows()
    await world.records.update([Joined(sid, "/", "b"), Left(sid, "/", "b"), Joined(sid, "/", "a")])
    await world.selections.change(Selection("/", ("a",)), [sid], RoomsChange(("b",), inside=True))
    await world.selections.change(Selection("/", ("a",)), [sid], RoomsChange(("b",), inside=False))
    assert await world.presences.metas("/", "a") == [first]
    assert await world.news() == [(True, first)]


async def test_only_members_show_something(world: World) -> None:
    sid = await world.client("b")
    assert await world.presences.show(sid, meta(), LONG_MS) is ShowResult.NOT_IN_ROOM
    assert await world.presences.show(sid, meta(room="b", namespace="/chat"), LONG_MS) is ShowResult.GONE
    assert await world.presences.hide(sid, "/chat", "b") is ShowResult.GONE
    assert await world.presences.show(f"{IO1}.{99:016d}", meta(), LONG_MS) is ShowResult.GONE
    assert await world.presences.hide(f"{IO1}.{99:016d}", "/", "a") is ShowResult.GONE
    assert await world.news() == []


async def test_a_client_that_comes_back_in_time_has_shown_it_all_the_time(world: World) -> None:
    sid, first = await world.shows()
    await world.news()
    await world.records.forget([Ended(sid, 0, LONG_MS)])
    assert await world.news() == []
    assert await world.presences.metas("/", "a") == [first]
    assert isinstance(await world.records.claim(sid, "/", PID, IO2), Claim)
    assert await world.news() == []
    assert await world.presences.metas("/", "a") == [first]
    await world.records.forget([Ended(sid, 1)])
    assert await world.news() == [(False, first)]


async def test_the_time_of_one_that_is_back_does_not_go_on(world: World) -> None:
    sid, stays = await world.shows(linger_ms=20)
    later, goes = await world.shows(linger_ms=20)
    await world.news()
    await world.records.forget([Ended(sid, 0, LONG_MS)])
    assert isinstance(await world.records.claim(sid, "/", PID, IO2), Claim)
    await world.records.forget([Ended(later, 0, LONG_MS)])
    assert await world.until_news() == [(False, goes)]
    assert await world.presences.metas("/", "a") == [stays]


async def test_the_longest_time_counts_for_all_rooms(world: World) -> None:
    sid, stays = await world.shows(linger_ms=20)
    later, goes = await world.shows(linger_ms=20)
    await world.records.update([Joined(sid, "/", "b")])
    await world.presences.show(sid, meta(room="b"), LONG_MS)
    await world.presences.show(sid, meta(room="b"), 30)
    await world.news()
    for one in (sid, later):
        await world.records.forget([Ended(one, 0, LONG_MS)])
    assert await world.until_news() == [(False, goes)]
    assert await world.presences.metas("/", "a") == [stays]


async def test_a_client_that_stays_away_shows_it_no_more(world: World) -> None:
    sid, first = await world.shows(linger_ms=20)
    _, stays = await world.shows()
    await world.news()
    await world.records.forget([Ended(sid, 0, LONG_MS)])
    assert await world.until_news() == [(False, first)]
    assert await world.presences.metas("/", "a") == [stays]
    # It comes back later, and what it shows then is its own affair.
    assert isinstance(await world.records.claim(sid, "/", PID, IO2), Claim)
    assert await world.presences.metas("/", "a") == [stays]
    again = meta()
    assert await world.presences.show(sid, again, LONG_MS) is ShowResult.DONE
    assert await world.news() == [(True, again)]


async def test_no_longer_than_it_may_come_back(world: World) -> None:
    sid, first = await world.shows()
    await world.news()
    await world.records.forget([Ended(sid, 0, 20)])
    assert await world.until_news() == [(False, first)]


async def test_what_is_shown_for_a_client_that_is_away_ends_too(world: World) -> None:
    sid = await world.client("a")
    await world.records.forget([Ended(sid, 0, LONG_MS)])
    shown = meta()
    assert await world.presences.show(sid, shown, 20) is ShowResult.DONE
    told = await world.until_news()
    while len(told) < 2:  # on a busy machine both are there at once
        told += await world.until_news()
    assert told == [(True, shown), (False, shown)]


async def test_news_stay_until_they_are_told(world: World) -> None:
    sid, first = await world.shows()
    lane = lane_of(sid, world.cluster.config.lanes)
    lease = next(lease for lease in world.leases if lease.lane == lane)
    [found] = await world.presences.news([lease])
    assert [found] == await world.presences.news([lease])
    await leave(world, sid)
    for _ in range(2):  # told again, since an answer was lost
        await world.presences.told(lease, found)
    assert await world.news() == [(False, first)]


async def test_who_has_lost_the_lane_gets_no_news_and_changes_nothing(world: World) -> None:
    sid, first = await world.shows()
    await world.presences.show(sid, meta("grace"), LONG_MS)
    lane = lane_of(sid, world.cluster.config.lanes)
    [mine] = [lease for lease in world.leases if lease.lane == lane]
    lost = Lease(lane, mine.node_id, mine.token - 1)
    assert await world.presences.news([lost]) == [[]]
    [news] = await world.presences.news([mine])
    assert [type(one) for one in news] == [News] * 3
    assert await world.presences.show(sid, first, LONG_MS, lost) is ShowResult.FENCED
    assert await world.presences.hide(sid, "/", "a", lost) is ShowResult.FENCED
    assert [one.key for one in await world.presences.metas("/", "a")] == ["grace"]
    other = next(lease for lease in world.leases if lease.lane != lane)
    assert await world.presences.show(sid, first, LONG_MS, other) is ShowResult.DONE


async def test_nothing_stays_behind(world: World) -> None:
    keys, lanes = world.cluster.keys, world.cluster.config.lanes
    before = await stored(world)
    sids = [(await world.shows())[0] for _ in range(5)]
    await world.records.forget([Ended(sid) for sid in sids])
    await world.news()
    assert await stored(world) - before <= {keys.news(lane_of(sid, lanes)) for sid in sids}


async def stored(world: World) -> set[str]:
    """All keys of the cluster in Redis. In memory there are none."""
    bus: Any = world.cluster.new_bus()
    if not hasattr(bus, "connections"):
        return set()
    [keys] = await bus.connections.run(("KEYS", f"{world.cluster.config.redis_prefix}:*"))
    return {key.decode() for key in keys}
