"""What the emitters for Node.js say of rooms: `except`, `socketsJoin`, `socketsLeave`, `disconnectSockets`; and
`serverSideEmit`. The messages are as the emitters write them; an io-node plays the clients' part."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_node.bridge.delivery import _portions, deliver
from app_node.bridge.requests import DisconnectClients, EmitEvent, EnterRooms, LeaveRooms, Refused, Selection
from app_node.downlink.landing import landing_as_one
from sio_cluster.protocol.messages import (
    SERVER_LEVEL,
    CloseRoom,
    Command,
    Disconnect,
    DisconnectMany,
    Emit,
    Join,
    JoinMany,
    LeaveMany,
)
from sio_cluster.streams.api.selections import MOST_ROOMS

JOIN, LEAVE, DISCONNECT, SERVER_SIDE_EMIT = 2, 3, 4, 6
"""`type` in what @socket.io/redis-emitter writes."""


async def ask(world: Any, kind: int, to: list[Any], but: list[Any] | None = None, **more: Any) -> None:
    """What @socket.io/redis-emitter writes for `emitter.in(to).except(but)` and so on."""
    message = {"type": kind, "opts": {"rooms": to, "except": but or []}, **more}
    await world.redis.publish("socket.io-request#/#", json.dumps(message))


async def emit(world: Any, event: str, to: list[Any], but: list[Any], **flags: bool) -> None:
    packet = {"type": 2, "data": [event], "nsp": "/"}
    options = {"rooms": to, "except": but, "flags": flags}
    await world.redis.publish("socket.io#/#", msgspec.msgpack.encode(["emitter", packet, options]))


class Clients:
    """Six clients. 0, 2, 4 are in "even", the others in "odd"; 0 and 1 are in "first" too."""

    def __init__(self, io: Any, sids: list[str]) -> None:
        self.io = io
        self.sids = sids

    async def inside(self, room: Any) -> set[int]:
        """Which of them are in this room, by their records."""
        records = [await self.io.bus.records.load(sid) for sid in self.sids]
        return {number for number, record in enumerate(records) if record is not None and room in record.rooms}

    def told(self, command: Command) -> list[int]:
        """Which of them this command names."""
        assert isinstance(command, JoinMany | LeaveMany | DisconnectMany)
        return sorted(self.sids.index(sid) for sid in command.sids)


@pytest.fixture
async def clients(world: Any) -> Clients:
    io, sio = await world.stage.io_node(), world.stage.echo_server()
    await sio.start()
    sids = [await io.connect() for _ in range(6)]
    for number, sid in enumerate(sids):
        await sio.enter_room(sid, ("even", "odd")[number % 2])
    for sid in sids[:2]:
        await sio.enter_room(sid, "first")
    await io.settle()
    io.commands.clear()
    return Clients(io, sids)


async def said(io: Any, world: Any) -> list[Command]:
    """What has come by now. Ends with an emit, which is left out."""
    await emit(world, "end", [], [])
    await io.until(lambda: io.commands and isinstance(io.commands[-1], Emit) and io.commands[-1].packet == b'2["end"]')
    *commands, _ = io.commands
    io.commands.clear()
    return list(commands)


async def test_an_emit_that_excepts_rooms_and_sids(world: Any, clients: Clients) -> None:
    bridge = await world.active()
    await emit(world, "a", ["even", "odd"], ["first", clients.sids[2], 7], volatile=True)
    await emit(world, "b", [], ["first"], compress=True)
    first, second = await said(clients.io, world)
    assert isinstance(first, Emit)
    assert isinstance(second, Emit)
    assert (first.to, first.except_rooms, first.skip, first.volatile) == (
        ["even", "odd"], ["first", 7], [clients.sids[2]], True,
    )  # fmt: skip
    assert (second.to, second.except_rooms, second.skip, second.volatile) == (None, ["first"], [], False)
    assert not bridge.counters.refused


async def test_all_who_match_enter_and_leave_once(world: Any, clients: Clients) -> None:
    await world.active()
    await ask(world, JOIN, ["even", "first", clients.sids[5]], [clients.sids[4]], rooms=["new", 7, "new"])
    [joined] = await said(clients.io, world)
    assert clients.told(joined) == [0, 1, 2, 5]
    assert isinstance(joined, JoinMany)
    assert joined.rooms == ["new", 7]
    assert await clients.inside(7) == {0, 1, 2, 5}
    await ask(world, LEAVE, [], ["first"], rooms=["new"])
    [left] = await said(clients.io, world)
    assert clients.told(left) == [2, 3, 4, 5]
    assert await clients.inside("new") == {0, 1}


async def test_a_sid_that_is_gone_keeps_nobody_else_out(world: Any, clients: Clients) -> None:
    bridge = await world.active()
    gone = clients.sids.pop()
    await clients.io.disconnect(gone)
    await clients.io.settle()
    await ask(world, JOIN, [gone, clients.sids[0]], rooms=["new"])
    await said(clients.io, world)
    assert await clients.inside("new") == {0}
    await ask(world, JOIN, [gone], rooms=["new"])
    await world.until(lambda: bridge.counters.refused["redis-emitter", "client_gone"] == 1)


async def test_one_client_named_by_its_sid_needs_no_selection(world: Any, clients: Clients) -> None:
    await world.active()
    await ask(world, JOIN, [clients.sids[3]], rooms=["a", "b"])
    await ask(world, DISCONNECT, [clients.sids[3]], close=True)
    commands = await said(clients.io, world)
    assert [type(command) for command in commands] == [Join, Join, Disconnect]
    await ask(world, JOIN, [clients.sids[2]], [clients.sids[2]], rooms=["a"])
    assert await said(clients.io, world) == []
    assert await clients.inside("a") == {3}


async def test_who_leaves_the_room_that_names_them_empties_it(world: Any, clients: Clients) -> None:
    """A bridge that dies in the middle, and does it again, finds nobody in there: only CloseRoom reaches them then."""
    await world.active()
    await ask(world, LEAVE, ["even", "odd"], rooms=["even", "first"])
    commands = await said(clients.io, world)
    assert [command.room for command in commands if isinstance(command, CloseRoom)] == ["even"]
    assert [await clients.inside(room) for room in ("even", "first", "odd")] == [set(), set(), {1, 3, 5}]
    await ask(world, LEAVE, [], rooms=["odd"])
    assert CloseRoom("/", "odd") in await said(clients.io, world)
    assert await clients.inside("odd") == set()


async def test_with_an_exception_it_does_not(world: Any, clients: Clients) -> None:
    await world.active()
    await ask(world, LEAVE, ["even"], ["first"], rooms=["even"])
    assert [type(command) for command in await said(clients.io, world)] == [LeaveMany]
    assert await clients.inside("even") == {0}


async def test_without_rooms_everybody_is_meant(world: Any, clients: Clients) -> None:
    await world.active()
    everybody = list(range(len(clients.sids)))
    await ask(world, JOIN, [], rooms=["new"])
    await ask(world, DISCONNECT, [], close=True)
    joined, gone = await said(clients.io, world)
    assert isinstance(joined, JoinMany)
    assert isinstance(gone, DisconnectMany)
    assert clients.told(joined) == clients.told(gone) == everybody
    assert gone.close is True


@pytest.mark.parametrize("close", [False, True])
async def test_all_who_match_are_disconnected(world: Any, clients: Clients, close: bool) -> None:
    await world.active()
    await ask(world, DISCONNECT, ["even", "first"], ["odd"], close=close)
    [gone] = await said(clients.io, world)
    assert clients.told(gone) == [0, 2, 4]
    assert isinstance(gone, DisconnectMany)
    assert gone.close is close


@pytest.mark.parametrize(
    "request_of",
    [
        lambda odd: EnterRooms(odd, ["new"]),
        lambda odd: LeaveRooms(odd, ["first"]),
        lambda odd: DisconnectClients(odd, close=False),
    ],
)
async def test_the_next_message_comes_when_redis_has_this_one(
    world: Any, clients: Clients, request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a bridge that dies, and whose next one repeats both, might leave clients out."""
    sio = world.stage.server()
    outbox, appender = sio.node.downlink.outbox, sio.node.bus.appender
    flush, asked, may_flush = appender.flush, asyncio.Event(), asyncio.Event()

    async def held_up(*args: Any, **kwargs: Any) -> Any:
        asked.set()
        await may_flush.wait()
        return await flush(*args, **kwargs)

    monkeypatch.setattr(appender, "flush", held_up)
    with landing_as_one():
        await deliver(sio, EmitEvent("/", "e", (), None, []))
        assert outbox.waiting == 1, "this one is only queued"
        delivering = asyncio.create_task(deliver(sio, request_of(Selection("/", ["odd"], ["none"]))))
        await asked.wait()
        await world.until(lambda: outbox.waiting == 2)
        assert not delivering.done()
        may_flush.set()
        await delivering
        assert outbox.waiting == 0


async def test_more_rooms_than_one_step_takes(world: Any, clients: Clients) -> None:
    """Also where the rooms are those that say who is meant."""
    await world.active()
    rooms = ["even", *range(2 * MOST_ROOMS)]
    await ask(world, JOIN, [], ["even"], rooms=rooms)
    await said(clients.io, world)
    for room in (*rooms[1::50], rooms[-1]):
        assert await clients.inside(room) == {1, 3, 5}
    assert await clients.inside("even") == set(range(6))


ROOMS = st.lists(st.integers(0, 400), unique=True, max_size=400)


@given(ROOMS, ROOMS, ROOMS)
def test_portions_have_every_room_once_and_those_that_matter_last(rooms: Any, to: Any, but: Any) -> None:
    decisive = set(rooms) & set(but)
    if len(decisive) > MOST_ROOMS:
        with pytest.raises(Refused):
            _portions(Selection("/", to, but), rooms)
        return
    portions = _portions(Selection("/", to, []), rooms)
    assert sorted(room for portion in portions for room in portion) == sorted(rooms)
    assert all(0 < len(portion) <= MOST_ROOMS for portion in portions)
    *before, last = _portions(Selection("/", None, but), rooms) or [[]]
    assert decisive <= set(last)
    assert not decisive & {room for portion in before for room in portion}


async def test_what_an_old_node_does_not_understand_is_refused(world: Any, clients: Clients) -> None:
    await world.stage.io_node("io2", level=SERVER_LEVEL - 1)
    bridge = await world.active()
    await ask(world, JOIN, ["even"], rooms=["new"])
    await emit(world, "a", [], ["even"])
    await ask(world, SERVER_SIDE_EMIT, [], data=["hello"])
    await ask(world, JOIN, [clients.sids[0]], rooms=["alone"])
    await emit(world, "b", [], [clients.sids[0]])
    assert [type(command) for command in await said(clients.io, world)] == [Join, Emit]
    assert bridge.counters.refused == {("redis-emitter", "nodes_too_old"): 3}


async def test_a_server_side_emit_runs_the_handlers_of_all_app_nodes(world: Any) -> None:
    await world.stage.io_node()
    got: list[Any] = []
    servers = [world.stage.echo_server(), world.stage.echo_server()]
    for server in servers:
        server.on_server("hello", lambda sender, *args: got.append((sender, args)))
        await server.start()
    bridge = await world.active()
    await ask(world, SERVER_SIDE_EMIT, [], uid="emitter", data=["hello", 1, {"two": None}])
    data = json.dumps({"packet": ["hello"]})
    await world.redis.xadd("socket.io", {"uid": "emitter", "nsp": "/", "type": "9", "data": data})
    await world.until(lambda: len(got) == 4)
    assert sorted(got, key=repr) == sorted([(bridge.id, (1, {"two": None})), (bridge.id, ())] * 2, key=repr)
    assert not bridge.counters.refused
