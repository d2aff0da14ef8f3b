"""Parked homes: whom they tell of, and when they end."""

import pytest

from app_node.membership import parked_homes
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import ClientDisconnected, Emit
from sio_cluster.streams.api.records import Ended
from sio_cluster.streams.memory import records as memory_records

from .parked_world import HOME, OTHER, PID, WINDOW_MS, World


@pytest.fixture
async def world() -> World:
    world = World()
    await world.start()
    return world


def lost(sid: str, generation: int = 0, keep_ms: int = WINDOW_MS) -> ClientDisconnected:
    return ClientDisconnected(sid, reasons.NODE_LOST, generation, keep_ms)


async def is_parked(world: World) -> bool:
    return HOME in await world.bus.registry.parked_io_nodes()


async def test_each_client_that_the_io_node_had_is_told_of(world: World) -> None:
    """Those that can come back may do so. Nothing is said of those who are away or have come back elsewhere."""
    here, old, away, elsewhere = (
        await world.client(),
        await world.client(pid=b""),
        await world.away(),
        await world.away(),
    )
    await world.bus.records.claim(elsewhere, "/", PID, OTHER)
    again = await world.away()
    await world.bus.records.claim(again, "/", PID, HOME)
    assert await world.parked.park(HOME)
    await world.parked.look()
    assert world.told() == sorted([lost(here), lost(old, keep_ms=0), lost(again, 1)], key=lambda fact: fact.sid)
    await world.parked.look()
    assert len(world.told()) == 3
    assert away not in [fact.sid for fact in world.told()]


async def test_it_ends_when_nobody_can_come_back(world: World) -> None:
    sid = await world.client()
    await world.parked.park(HOME)
    await world.parked.look()
    world.now += 10
    await world.parked.look()
    assert await is_parked(world), "its disconnect is on its way"
    await world.bus.records.forget([Ended(sid, 0, WINDOW_MS)])
    world.now += WINDOW_MS / 1000 - 1
    await world.parked.look()
    assert await is_parked(world)
    assert (world.parked.number, world.parked.absent) == (1, 1)
    world.now += 6
    await world.parked.look()
    assert not await is_parked(world)
    assert await world.bus.records.load(sid) is None
    assert (world.parked.number, world.parked.absent) == (0, 0)
    assert await world.bus.registry.registered_io_nodes() == []


async def test_it_stays_while_another_io_node_has_a_client_of_it(world: World) -> None:
    sid = await world.away()
    await world.parked.park(HOME)
    await world.bus.records.claim(sid, "/", PID, OTHER)
    world.now += 3 * WINDOW_MS / 1000
    await world.parked.look()
    assert await is_parked(world)
    await world.bus.records.forget([Ended(sid, 1)])
    world.now += 6
    await world.parked.look()
    assert not await is_parked(world)


async def test_who_appends_nothing_for_ten_minutes_is_forgotten(world: World) -> None:
    """Programs that only emit may end without a word, each with a sequence number of its own."""
    await world.client()
    await world.parked.park(HOME)
    await world.say(Emit("/", b'2["a"]'))
    numbers = world.broker.streams[world.bus.keys.inbox(HOME)].last_seq
    await world.parked.look()
    world.now += 599
    await world.parked.look()
    assert len(numbers) == 1
    world.now += 1
    await world.parked.look()
    assert not numbers


async def test_clients_whose_disconnect_got_lost_are_told_of_again(world: World) -> None:
    sid = await world.client()
    await world.parked.park(HOME)
    await world.parked.look()
    world.now += 61
    await world.parked.look()
    assert world.told() == [lost(sid), lost(sid)]


async def test_another_app_node_tells_of_the_rest(world: World) -> None:
    """The first one died right after it had parked the home."""
    sid = await world.client()
    await world.parked.park(HOME)
    await world.app_node().look()
    assert world.told() == [lost(sid)]


async def test_who_has_come_back_meanwhile_is_not_told_of(world: World) -> None:
    """The list was read before."""
    sid = await world.client()
    await world.parked.park(HOME)
    load = world.bus.records.load

    async def comes_back(of: str) -> object:
        world.bus.records.load = load  # type: ignore[method-assign]
        await world.bus.records.claim(sid, "/", PID, OTHER)
        return await load(of)

    world.bus.records.load = comes_back  # type: ignore[assignment,method-assign]
    await world.parked.look()
    assert world.told() == []


async def test_clients_of_living_io_nodes_are_swept_too(world: World) -> None:
    sid = await world.away(keep_ms=WINDOW_MS)
    world.now += WINDOW_MS / 1000 + 1
    await world.parked.look()
    assert await world.bus.records.load(sid) is None


async def test_an_io_node_that_wakes_up_has_its_home_again(world: World) -> None:
    await world.client()
    await world.parked.park(HOME)
    await world.parked.look()
    await world.bus.registry.register_io_node(HOME, {"level": "2"})
    await world.parked.look()
    assert world.parked.number == 0
    assert await world.bus.homes.horizon(HOME) == b"0-0"


async def test_no_home_is_parked_where_nobody_can_come_back() -> None:
    world = World(window_ms=0)
    await world.start()
    assert not await world.parked.park(HOME)
    assert not await is_parked(world)


async def test_no_home_is_parked_while_a_node_does_not_know_of_that(world: World) -> None:
    await world.bus.registry.register_io_node(OTHER, {})
    assert not await world.parked.park(HOME)


async def untold(world: World, reason: str) -> str:
    """A client that was away until now, and of whose disconnect the application has not been told: its sid."""
    sid = await world.client()
    await world.bus.records.forget([Ended(sid, 0, 1, reason)])
    return sid


async def test_clients_of_whom_nobody_has_told_are_told_of_when_their_time_is_over(world: World) -> None:
    """Until their disconnect was handled, they are told of again from time to time, and their home stays."""
    drained, timed_out = await untold(world, reasons.NODE_DRAINED), await untold(world, reasons.PING_TIMEOUT)
    await world.parked.park(HOME)
    facts = [ClientDisconnected(drained, reasons.NODE_DRAINED), ClientDisconnected(timed_out, reasons.PING_TIMEOUT)]
    facts.sort(key=lambda fact: fact.sid)
    world.now += 1
    for _ in range(3):
        await world.parked.look()
        world.now += 6
    assert world.told() == facts
    await world.bus.records.forget([Ended(drained)])
    world.now += 60
    await world.parked.look()
    assert len(world.told()) == 3
    assert world.told().count(ClientDisconnected(timed_out, reasons.PING_TIMEOUT)) == 2
    assert await is_parked(world)
    await world.bus.records.forget([Ended(timed_out)])
    world.now += 6
    await world.parked.look()
    assert not await is_parked(world)
    assert world.counters.reaper_facts_written == 3


async def test_another_app_node_tells_of_those_of_whom_nobody_has_told(world: World) -> None:
    sid = await untold(world, reasons.PING_TIMEOUT)
    world.now += 1
    world.in_charge = False
    await world.parked.look()
    assert world.told() == []
    world.in_charge = True
    await world.app_node().look()
    assert world.told() == [ClientDisconnected(sid, reasons.PING_TIMEOUT)]


async def test_many_of_whom_nobody_has_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis names some at a time. The others do not wait for the next sweep."""
    monkeypatch.setattr(memory_records, "OVERDUE_COUNT", 3)
    monkeypatch.setattr(parked_homes, "OVERDUE_COUNT", 3)
    for _ in range(5):
        await untold(world, reasons.PING_TIMEOUT)
    world.now += 1
    await world.parked.look()
    assert len(world.told()) == 3
    await world.bus.records.forget([Ended(fact.sid) for fact in world.told()])
    await world.parked.look()
    assert len(world.told()) == 5


async def test_who_is_not_in_charge_any_more_ends_no_home(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two homes, another app-node may have taken over."""
    await world.client()
    await world.bus.registry.register_io_node(OTHER, {"level": "2"})
    asked: list[str] = []
    away = world.bus.records.away

    async def loses_charge(home: str) -> int:
        asked.append(home)
        world.in_charge = False
        return await away(home)

    monkeypatch.setattr(world.bus.records, "away", loses_charge)
    await world.parked.look()
    assert len(asked) == 1
