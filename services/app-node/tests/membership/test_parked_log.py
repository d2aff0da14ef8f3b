"""What goes from the log of a parked home, when, and with which rooms."""

from typing import Any

import pytest

from sio_cluster.protocol.errors import BusUnavailable, RedisFull
from sio_cluster.protocol.messages import Accept, CloseRoom, Disconnect, Emit, Join, JoinMany, Leave, LeaveMany
from sio_cluster.protocol.recovery import position_of

from .parked_world import HOME, KEPT_S, OTHER, PID, World

NEWS = Emit("/", b'2["news"]')


@pytest.fixture
async def world() -> World:
    world = World()
    await world.start()
    return world


async def parked(world: World) -> None:
    assert await world.parked.park(HOME)
    await world.parked.look()


async def horizon(world: World) -> bytes | None:
    return await world.bus.homes.horizon(HOME)


async def test_what_is_old_goes_with_what_it_said_of_rooms(world: World) -> None:
    sid, gone = await world.away(), "io1-aaaaaa.AAAAAAAAAAAAAAAA"
    await world.say(Accept(sid), Join(sid, "a"), Join(sid, "b"), Join(gone, "a"), NEWS)
    last = await world.say(Leave(sid, "b"), Join(sid, 7), Disconnect(gone))
    await parked(world)
    world.now += KEPT_S - 1
    await world.say(Join(sid, "c"))
    await world.parked.look()
    assert await horizon(world) == b"0-0"
    assert await world.rooms(sid) == []
    world.now += 2
    await world.parked.look()
    assert await horizon(world) == last
    assert await world.rooms(sid) == ["7", "a"]
    at = await world.bus.homes.rooms(HOME, sid, None)
    assert at is not None
    assert sid in at.rooms
    assert world.counters.parked_entries_forgotten == 2


async def test_what_is_too_much_goes(world: World) -> None:
    world.log_max_bytes = 10_000
    world.parked = world.app_node()
    sid = await world.away()
    await world.say(Join(sid, "a"))
    for _ in range(50):
        await world.say(Emit("/", b"2" + 500 * b"x"))
    last = await world.say(Leave(sid, "a"))
    await parked(world)
    left = await world.bus.homes.page(HOME, b"0-0", 1000)
    assert left[-1].id == last
    assert 0 < sum(len(entry.entry) for entry in left) <= 10_000
    assert await world.rooms(sid) == ["a"]


async def test_a_room_that_is_closed(world: World) -> None:
    """Each member leaves it, whenever it came in, and nobody of another namespace."""
    one, two, late, chat = await world.away(), await world.away(), await world.away(), await world.away("/chat")
    about_to_go = await world.client()
    await world.say(Join(one, "a"), Join(one, "b"), Join(chat, "a"), Join(about_to_go, "a"))
    await parked(world)
    world.now += KEPT_S + 1
    await world.parked.look()
    assert await world.rooms(one) == ["a", "b"]
    await world.say(Join(two, "a"), CloseRoom("/", "a"), Join(late, "a"), CloseRoom("/chat", "b"))
    await world.parked.look()
    world.now += KEPT_S + 1
    await world.parked.look()
    assert [await world.rooms(sid) for sid in (one, two, late, chat, about_to_go)] == [["b"], [], ["a"], ["a"], []]
    await world.say(CloseRoom("/", "a"))
    await world.parked.look()
    world.now += KEPT_S + 1
    await world.parked.look()
    assert await world.rooms(late) == []


async def test_many_enter_and_leave(world: World) -> None:
    one, two, three = await world.away(), await world.away(), await world.away()
    await world.say(JoinMany([one, two], ["a", 7]), JoinMany([three], ["b"]), LeaveMany([two, three], ["a", "b"]))
    await world.say(CloseRoom("/", "a"), JoinMany([three], ["a"]))
    await parked(world)
    world.now += KEPT_S + 1
    await world.parked.look()
    assert [await world.rooms(sid) for sid in (one, two, three)] == [["7"], ["7"], ["a"]]


async def test_a_client_that_another_io_node_has_counts_as_a_member(world: World) -> None:
    sid = await world.away()
    await world.bus.records.claim(sid, "/", PID, OTHER)
    await world.say(Join(sid, "a"), CloseRoom("/", "a"), Join(sid, "b"))
    await parked(world)
    world.now += KEPT_S + 1
    await world.parked.look()
    assert await world.rooms(sid) == ["b"]


async def test_an_entry_that_cannot_be_decoded(world: World) -> None:
    """Nobody knows whom it let into a room. So nobody who was there by then comes back, rather than to wrong rooms."""
    sid = await world.away()
    await world.say(Join(sid, "a"))
    malformed = await world.say_raw(b"\xc1")
    later = await world.away(since=malformed)
    still_later = await world.away(since=await world.say(Join(sid, "b"), Join(later, "c")))
    await world.say(Join(still_later, "d"))
    await parked(world)
    world.now += KEPT_S + 1
    await world.parked.look()
    assert [await world.rooms(who) for who in (sid, later, still_later)] == [None, None, ["d"]]
    assert world.counters.parked_entries_malformed == 1
    assert world.counters.parked_entries_forgotten == 4
    last = await world.say(CloseRoom("/", "d"))
    await world.parked.look()
    world.now += KEPT_S + 1
    await world.parked.look()
    assert await horizon(world) == last
    assert [await world.rooms(who) for who in (sid, still_later)] == [None, []]


async def test_what_goes_at_a_time_is_little(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is due: while it is read and told to Redis, the app-node serves others."""
    sids = [await world.away() for _ in range(10)]
    for room in range(200):
        await world.say(*[Join(sid, f"room{room}-{number}") for sid in sids for number in range(10)])
    await parked(world)
    world.now += KEPT_S + 1
    told: list[int] = []
    forget = world.bus.homes.forget_parked

    async def counting(home: str, up_to: bytes, ops: Any) -> None:
        told.append(len(ops))
        await forget(home, up_to, ops)

    monkeypatch.setattr(world.bus.homes, "forget_parked", counting)
    await world.parked.look()
    assert sum(told) == 20_000
    assert max(told) <= 1_500
    assert len(await world.rooms(sids[0]) or ()) == 2_000


async def test_rooms_that_are_empty_again_are_forgotten(world: World) -> None:
    """An application may use a new room for each game, for as long as the home is parked."""
    sid = await world.away()
    await world.say(CloseRoom("/", "a"))
    for room in range(100):
        await world.say(Join(sid, room), Leave(sid, room))
    await parked(world)
    world.now += KEPT_S + 1
    await world.parked.look()
    members = world.parked._parked[HOME].log._rooms._members
    assert members is not None
    assert not members._rooms


async def test_who_was_quiet_for_long_is_told_apart_from_who_missed_something(world: World) -> None:
    """Both have offsets from before the horizon. One was in a room that has had an event since."""
    quiet, busy, left = await world.away(), await world.away(), await world.away()
    first = await world.say(*[Accept(sid) for sid in (quiet, busy, left)], Join(busy, "a"), Join(left, "a"))
    last = await world.say(Emit("/", b'2["news"]', to=["a"]), CloseRoom("/", "a"))
    await parked(world)
    world.now += KEPT_S + 1
    await world.parked.look()
    assert await horizon(world) == last
    homes, offset = world.bus.homes, position_of(first, 0)
    reached = [(await homes.marks(HOME, sid, "/", [sid])).reached(offset, last) for sid in (quiet, busy, left)]
    assert reached == [offset, None, None]


async def test_a_full_redis_is_emptied_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any) -> None:
        raise RedisFull("out of memory")

    sid = await world.away()
    last = await world.say(Join(sid, "a"))
    await parked(world)
    world.now += KEPT_S + 1
    monkeypatch.setattr(world.bus.homes, "mark_gone", full)
    await world.parked.look()
    assert await horizon(world) == last


async def test_another_app_node_goes_on(world: World) -> None:
    """It counts from when it has read the log itself, or from the newest entry."""
    sid = await world.away()
    await world.say(Join(sid, "a"))
    await world.say(CloseRoom("/", "a"), Join(sid, "b"))
    await parked(world)
    world.now += KEPT_S + 1
    await world.parked.look()
    await world.say(CloseRoom("/", "b"), Join(sid, "c"))
    second = world.app_node()
    await second.look()
    assert await world.rooms(sid) == ["b"]
    world.now += KEPT_S + 1
    await second.look()
    assert await world.rooms(sid) == ["c"]


async def test_two_who_think_that_they_are_in_charge(world: World) -> None:
    sid = await world.away()
    second = world.app_node()
    for room in range(100):
        last = await world.say(
            Join(sid, room), Join(sid, "a"), CloseRoom("/", "a"), *[Leave(sid, room - 1)] * (room > 0)
        )
    await parked(world)
    await second.look()
    world.now += KEPT_S + 1
    await second.look()
    await world.parked.look()
    await world.parked.look()
    assert await horizon(world) == last
    assert await world.rooms(sid) == ["99"]


async def test_a_lost_answer_does_no_harm(world: World) -> None:
    sid = await world.away()
    await world.say(Join(sid, "a"), CloseRoom("/", "a"), Join(sid, "b"))
    await parked(world)
    world.now += KEPT_S + 1
    asked = 0
    forget = world.bus.homes.forget_parked

    async def fails_once(home: str, up_to: bytes, ops: Any) -> None:
        nonlocal asked
        asked += 1
        await forget(home, up_to, ops)
        if asked == 1:
            raise BusUnavailable("the reply was lost")

    world.bus.homes.forget_parked = fails_once  # type: ignore[method-assign]
    with pytest.raises(BusUnavailable):
        await world.parked.look()
    await world.say(Join(sid, "c"))
    await world.parked.look()
    world.now += KEPT_S + 1
    await world.parked.look()
    assert await world.rooms(sid) == ["b", "c"]


async def test_a_home_that_dropped_entries_by_itself(world: World) -> None:
    """Nobody has seen them, so nobody of this home comes back. What is left still goes in time."""
    sid = await world.away()
    await parked(world)
    for _ in range(3):
        last = await world.say(Join(sid, "a"), Emit("/", b"2" + 900_000 * b"x"))
    assert await world.rooms(sid) is None
    await world.parked.look()
    world.now += KEPT_S + 1
    await world.parked.look()
    assert await horizon(world) == last
    assert await world.rooms(sid) is None


async def test_who_is_not_in_charge_any_more_stops(world: World) -> None:
    sid = await world.away()
    await world.say(Join(sid, "a"))
    await parked(world)
    world.now += KEPT_S + 1
    world.in_charge = False
    await world.parked.look()
    assert await horizon(world) == b"0-0"
