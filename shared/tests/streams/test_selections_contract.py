"""Selections of clients by their records, in memory and in Valkey alike."""

import random
from collections.abc import Sequence

import pytest

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, Handshake, Room
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import Ended, Joined
from sio_cluster.streams.api.selections import Matched, RoomsChange, Selection, Selections
from sio_cluster.testing.contract import Cluster

APP1, IO1, IO2 = "app-aaaaaa", "io1-aaaaaa", "io2-aaaaaa"
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "example.org")], "192.0.2.1", 4711)


def connected(number: int, node: str = IO1, namespace: str = "/") -> ClientConnected:
    return ClientConnected(f"{node}.{number:016d}", "c1", namespace, None, HANDSHAKE, "polling", b"\x01" * 32)


async def world(cluster: Cluster, rooms: dict[int, Sequence[Room]], namespace: str = "/") -> list[str]:
    """Clients of two io-nodes, by number: in these rooms. Returns their sids."""
    registry, records = cluster.registry(), cluster.records()
    clients = [connected(number, IO1 if number % 2 else IO2, namespace) for number in rooms]
    for node in (IO1, IO2):
        await registry.register_io_node(node, {})
    await records.store(clients)
    joins = [
        Joined(client.sid, namespace, room)
        for client, of_client in zip(clients, rooms.values(), strict=True)
        for room in of_client
    ]
    await records.update(joins)
    return [client.sid for client in clients]


async def select(
    selections: Selections, selection: Selection, change: RoomsChange | None = None, lease: Lease | None = None
) -> Matched:
    """All who match, each once."""
    here: dict[str, None] = {}
    away: dict[str, None] = {}
    cursor = None
    while True:
        candidates = await selections.candidates(selection, cursor)
        assert len(candidates.sids) == len(set(candidates.sids))
        matched = await selections.change(selection, candidates.sids, change, lease)
        here.update(dict.fromkeys(matched.here))
        away.update(dict.fromkeys(matched.away))
        cursor = candidates.cursor
        if cursor is None:
            return Matched(sorted(here), sorted(away))


async def candidates(selections: Selections, selection: Selection, left: Sequence[Room]) -> set[str]:
    """All who may match, or have left these rooms."""
    found: set[str] = set()
    cursor = None
    while True:
        page = await selections.candidates(selection, cursor, left=left)
        found.update(page.sids)
        cursor = page.cursor
        if cursor is None:
            return found


async def rooms_of(cluster: Cluster, sids: Sequence[str]) -> list[set[Room]]:
    records = cluster.records()
    found = []
    for sid in sids:
        record = await records.load(sid)
        assert record is not None
        found.append(record.rooms)
    return found


async def members(cluster: Cluster, *rooms: Room) -> list[str]:
    """Who is in one of these rooms, as the room index says."""
    return (await select(cluster.selections(), Selection("/", rooms))).here


ROOMS: dict[int, Sequence[Room]] = {1: ["a"], 2: ["a", "b"], 3: ["b"], 4: ["a", "c"], 5: [], 6: ["a", "b", "c"]}


class TestSelections:
    @pytest.mark.parametrize(
        ("to", "except_rooms", "expected"),
        [
            (("a",), (), {1, 2, 4, 6}),
            (("a", "b"), (), {1, 2, 3, 4, 6}),
            (("a",), ("b",), {1, 4}),
            (("a", "b"), ("c", "nobody"), {1, 2, 3}),
            (None, (), {1, 2, 3, 4, 5, 6}),
            (None, ("a",), {3, 5}),
            ((), (), set()),
            (("nobody",), (), set()),
            (("a",), ("a",), set()),
        ],
    )
    async def test_who_matches(
        self, cluster: Cluster, to: tuple[Room, ...] | None, except_rooms: tuple[Room, ...], expected: set[int]
    ) -> None:
        sids = await world(cluster, ROOMS)
        await world(cluster, {7: ["a"], 8: ["b"]}, "/other")
        matched = await select(cluster.selections(), Selection("/", to, except_rooms))
        assert matched == Matched(sorted(sids[number - 1] for number in expected), [])

    async def test_a_sid_is_a_room(self, cluster: Cluster) -> None:
        one, two, *_ = sids = await world(cluster, ROOMS)
        [other] = await world(cluster, {7: ["a"]}, "/other")
        gone = connected(99).sid
        matched = await select(cluster.selections(), Selection("/", (two, "c", gone, other), (sids[5],)))
        assert matched.here == sorted([two, sids[3]])
        assert (await select(cluster.selections(), Selection("/", None, (one, *sids[2:])))).here == [two]

    async def test_entering_and_leaving(self, cluster: Cluster) -> None:
        sids = await world(cluster, ROOMS)
        enters = RoomsChange(("x", 7), inside=True)
        matched = await select(cluster.selections(), Selection("/", ("a",), ("c",)), enters)
        assert matched.here == sorted(sids[:2])
        assert await rooms_of(cluster, sids) == [
            {"a", "x", 7}, {"a", "b", "x", 7}, {"b"}, {"a", "c"}, set(), {"a", "b", "c"},
        ]  # fmt: skip
        assert await members(cluster, 7) == sorted(sids[:2])
        leaves = RoomsChange(("a", "x", "nobody"), inside=False)
        matched = await select(cluster.selections(), Selection("/", ("a", "b"), (7, sids[5])), leaves)
        assert matched.here == sorted([sids[2], sids[3]])
        assert await rooms_of(cluster, sids[2:4]) == [{"b"}, {"c"}]
        assert await members(cluster, "a") == sorted([sids[0], sids[1], sids[5]])
        everyone = Selection("/", None)
        await select(cluster.selections(), everyone, RoomsChange(("a", "b", "c", "x", 7), inside=False))
        assert await rooms_of(cluster, sids) == [set()] * 6

    async def test_a_change_may_be_of_what_selects(self, cluster: Cluster) -> None:
        sids = await world(cluster, {number: ["a"] for number in range(40)})
        selections = cluster.selections()
        assert (await select(selections, Selection("/", ("a",), ("b",)), RoomsChange(("b",), True))).here == sorted(
            sids
        )
        assert (await select(selections, Selection("/", ("a", "b")), RoomsChange(("a",), False))).here == sorted(sids)
        assert await members(cluster, "b") == sorted(sids)
        assert await members(cluster, "a") == []

    async def test_a_lost_answer_loses_nobody(self, cluster: Cluster) -> None:
        """When the call is made again, those whom it has changed do not match any more."""
        sids = await world(cluster, {number: ["a"] for number in range(4)})
        selections = cluster.selections()
        for selection, change in [
            (Selection("/", ("a",), ("b",)), RoomsChange(("b",), inside=True)),
            (Selection("/", ("a",)), RoomsChange(("a", "never"), inside=False)),
        ]:
            assert sorted((await selections.change(selection, sids, change)).here) == sorted(sids)
            assert (await selections.change(selection, sids, change)).here == []
            assert sorted((await selections.change(selection, sids, change, again=True)).here) == sorted(sids)
        await cluster.records().update([Joined(sids[0], "/", "a")])
        selection = Selection("/", ("nobody",))
        again = await selections.change(selection, sids, RoomsChange(("a",), inside=False), again=True)
        assert sorted(again.here) == sorted(sids[1:])
        assert await members(cluster, "a") == [sids[0]]

    async def test_who_left_the_room_that_selects_is_noted(self, cluster: Cluster) -> None:
        """So that whoever makes the change again finds them, however many they are. Only where the change says so."""
        sids = await world(cluster, {number: ["a", "b"] for number in range(400)})
        selections, selection = cluster.selections(), Selection("/", ("a",), (sids[0],))
        change = RoomsChange(("a", "b"), inside=False, noted=("a",))
        assert (await select(selections, selection, change)).here == sorted(sids[1:])
        for left, found in [(("a",), set(sids)), ((), set(sids[:1])), (("b",), set(sids[:1]))]:
            assert await candidates(selections, selection, left) == found
        assert await candidates(selections, Selection("/chat", ("nobody",)), ("a",)) == set()
        await cluster.records().update([Joined(sids[1], "/", "a")])
        matched = await selections.change(selection, sids[:4], change, again=True)
        assert sorted(matched.here) == sorted(sids[1:4]), "who is back in there leaves again, the others have left"

    async def test_those_who_are_away_match_too(self, cluster: Cluster) -> None:
        sids = await world(cluster, ROOMS)
        await with_log(cluster)
        await cluster.records().forget([Ended(sids[0], 0, 60_000), Ended(sids[2])])
        for selection in (Selection("/", ("a", "b"), ("c",)), Selection("/", None, ("c", sids[4]))):
            assert await select(cluster.selections(), selection) == Matched([sids[1]], [sids[0]])
        await select(cluster.selections(), Selection("/", ("a",)), RoomsChange(("x",), inside=True))
        assert (await rooms_of(cluster, sids[:1])) == [{"a", "x"}]

    @pytest.mark.parametrize("room", ["", "ключ \x00", 'a":"b', "a:b", "\\", "%w[]-", -(2**63), 7])
    @pytest.mark.parametrize("namespace", ["/", "/чат", '/a:"b'])
    async def test_rooms_and_namespaces_of_any_name(self, cluster: Cluster, namespace: str, room: Room) -> None:
        sids = await world(cluster, {1: [room], 2: ["x", room], 3: ["x"]}, namespace)
        selections = cluster.selections()
        matched = await select(selections, Selection(namespace, (room,), ("x",)), RoomsChange(("new",), True))
        assert matched.here == sids[:1]
        await select(selections, Selection(namespace, None, (room,)), RoomsChange((room,), True))
        assert (await select(selections, Selection(namespace, (room,)))).here == sorted(sids)

    async def test_a_lease_fences_its_own_lane(self, cluster: Cluster) -> None:
        sids = await world(cluster, {number: ["a"] for number in range(12)})
        lane, leases = lane_of(sids[0], cluster.config.lanes), cluster.leases()
        ours = await leases.acquire(lane, APP1, 60_000)
        assert ours is not None
        change = RoomsChange(("b",), inside=True)
        assert (await cluster.selections().change(Selection("/", ("a",)), sids[:1], change, ours)).here == sids[:1]
        await leases.release(ours)
        with pytest.raises(LeaseLost):
            await cluster.selections().change(Selection("/", ("a",)), sids, RoomsChange(("c",), True), ours)
        for sid, rooms in zip(sids, await rooms_of(cluster, sids), strict=True):
            assert ("c" in rooms) is (lane_of(sid, cluster.config.lanes) != lane)

    @pytest.mark.slow
    async def test_large_rooms_come_in_pages(self, cluster: Cluster) -> None:
        numbers = range(3_000)
        sids = await world(cluster, {number: ["a", "b"] if number % 3 else ["a"] for number in numbers})
        expected = sorted(sid for number, sid in enumerate(sids) if number % 3)
        selections = cluster.selections()
        for selection in (Selection("/", ("a", "b"), tuple(sids[::3])), Selection("/", None, tuple(sids[::3]))):
            assert (await select(selections, selection)).here == expected
        cursor, pages = None, 0
        while pages == 0 or cursor is not None:
            candidates = await selections.candidates(Selection("/", ("a",)), cursor)
            cursor, pages = candidates.cursor, pages + 1
            assert len(candidates.sids) < 2_500
        assert pages > 1
        matched = await select(selections, Selection("/", ("a",), ("b",)), RoomsChange(("a",), inside=False))
        assert len(matched.here) == 1_000
        assert await members(cluster, "a") == expected

    async def test_who_comes_and_goes_meanwhile_disturbs_nobody(self, cluster: Cluster) -> None:
        """Clients that are in the room throughout are found, whatever happens around them."""
        draws = random.Random(1)
        sids = await world(cluster, {number: ["a"] if number % 2 else [] for number in range(600)})
        stay = {sid for number, sid in enumerate(sids) if number % 2}
        others = [sid for sid in sids if sid not in stay]
        selections, found, cursor = cluster.selections(), set[str](), None
        selection = Selection("/", ("a",))
        while True:
            candidates = await selections.candidates(selection, cursor)
            found.update(candidates.sids)
            cursor = candidates.cursor
            if cursor is None:
                break
            some = draws.sample(others, 50)
            await selections.change(Selection("/", None), some, RoomsChange(("a",), inside=draws.random() < 0.5))
        assert stay <= found


async def with_log(cluster: Cluster) -> None:
    """The inboxes keep a log, so that clients may come back."""
    for node in (IO1, IO2):
        await cluster.inbox_reader(node, keeps_log=True).read(0)
