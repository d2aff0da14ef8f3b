"""All who match enter rooms, leave rooms, or are disconnected; over the fakes and over Valkey."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.errors import NodesTooOld
from sio_cluster.protocol.messages import (
    SERVER_LEVEL,
    Ack,
    ClientDisconnected,
    CloseRoom,
    Command,
    DisconnectMany,
    Emit,
    JoinMany,
    Leave,
    LeaveMany,
    RoomChanged,
)


async def rooms_in_record(io: Any, sid: str) -> Any:
    record = await io.bus.records.load(sid)
    return None if record is None else record.rooms


async def two_io_nodes(stage: Any, sio: Any, number: int = 6) -> tuple[Any, Any, list[str]]:
    """Clients of two io-nodes in turn. Those with an odd number are in room "odd", the others in "even"."""
    one, two = await stage.io_node("io1"), await stage.io_node("io2")
    await sio.start()
    sids = [await (one, two)[n % 2].connect() for n in range(number)]
    for n, sid in enumerate(sids):
        await sio.enter_room(sid, ("even", "odd")[n % 2])
    return one, two, sids


def concerned(io: Any, kind: Any) -> set[str]:
    return {sid for command in io.commands if isinstance(command, kind) for sid in command.sids}


async def test_who_matches_enters_and_leaves(stage: Any) -> None:
    sio, other = stage.echo_server(), stage.server()
    one, two, sids = await two_io_nodes(stage, sio)
    await other.enter_rooms(["new", 7], room=["odd", sids[0]], except_room=sids[1])
    await other.emit("after", to="new")
    for io, expected in ((one, [sids[0]]), (two, [sids[3], sids[5]])):
        await io.wait(1, Emit)
        kinds = [type(command) for command in io.commands if isinstance(command, JoinMany | Emit)]
        assert kinds[-1] is Emit
        assert concerned(io, JoinMany) == set(expected)
        assert all(command.rooms == ["new", 7] for command in io.commands if isinstance(command, JoinMany))
    assert await rooms_in_record(one, sids[0]) == {"even", "new", 7}
    await other.leave_rooms("new", except_room=["odd"])
    assert await rooms_in_record(one, sids[0]) == {"even", 7}
    assert await rooms_in_record(one, sids[3]) == {"odd", "new", 7}
    await one.until(lambda: concerned(one, LeaveMany) == set(sids[::2]))
    assert concerned(two, LeaveMany) == set()


async def test_everybody_nobody_and_other_namespaces(stage: Any) -> None:
    sio = stage.echo_server()

    @sio.on("connect", namespace="/chat")
    async def connect(sid: str, environ: Any) -> None:
        pass

    one, _, sids = await two_io_nodes(stage, sio)
    chat = await one.connect("/chat")
    await sio.enter_rooms("all")
    await sio.enter_rooms("none", room=[])
    await sio.enter_rooms([], room="odd")
    await sio.enter_rooms("chat", namespace="/chat")
    for sid in sids:
        assert "all" in await rooms_in_record(one, sid)
        assert set(sio.rooms(sid)) == {sid, "all"} | (await rooms_in_record(one, sid))
    assert await rooms_in_record(one, chat) == {"chat"}
    assert sio.rooms(chat, "/chat") == [chat, "chat"]


async def test_what_cannot_be_asked(stage: Any) -> None:
    sio = stage.server()
    io = await stage.io_node()
    with pytest.raises(TypeError, match="room"):
        await sio.enter_rooms(3.5)
    with pytest.raises(TypeError, match="which rooms"):
        await sio.leave_rooms(None)
    with pytest.raises(TypeError, match="room"):
        await sio.disconnect_room("a", except_room=object())
    with pytest.raises(ValueError, match="cannot enter a sid room"):
        await sio.enter_rooms(["a", io.id + ".AAAAAAAAAAAAAAAA"])
    with pytest.raises(ValueError, match="101 rooms are too many"):
        await sio.leave_rooms(list(range(101)), room="a")


async def test_an_old_node_is_asked_for_nothing_new(stage: Any) -> None:
    """Nothing has changed then. A room can be closed all the same."""
    sio = stage.echo_server()
    io = await stage.io_node(level=SERVER_LEVEL - 1)
    await sio.start()
    sid = await io.connect()
    await sio.enter_room(sid, "a")
    for attempt in (sio.enter_rooms("b"), sio.leave_rooms("a", room="a"), sio.disconnect_room("a")):
        with pytest.raises(NodesTooOld):
            await attempt
    assert await rooms_in_record(io, sid) == {"a"}
    await sio.close_room("a")
    await io.wait(1, CloseRoom)
    assert await rooms_in_record(io, sid) == set()
    assert not any(isinstance(command, JoinMany | LeaveMany | DisconnectMany) for command in io.commands)


async def test_who_matches_is_disconnected(stage: Any) -> None:
    sio, other = stage.echo_server(), stage.server()
    gone: list[Any] = []

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        gone.append((sid, reason))

    one, two, sids = await two_io_nodes(stage, sio)
    await other.disconnect_room("odd", close=True, except_room=[sids[1]])
    [command] = await two.wait(1, DisconnectMany)
    assert (set(command.sids), command.close) == ({sids[3], sids[5]}, True)
    assert concerned(one, DisconnectMany) == set()
    await two.send(*[ClientDisconnected(sid, "server disconnect") for sid in command.sids])
    await two.settle()
    assert sorted(gone) == sorted((sid, "server disconnect") for sid in command.sids)
    await other.disconnect_room(None, namespace="/nobody")
    await other.disconnect_room(None)
    await two.until(lambda: sids[1] in concerned(two, DisconnectMany))
    await one.until(lambda: concerned(one, DisconnectMany) == set(sids[::2]))


async def test_who_is_away_can_not_come_back(stage: Any) -> None:
    sio = stage.echo_server()
    io = await stage.io_node()
    await io.bus.inbox_reader(io.id, keeps_log=True).read(0)
    await sio.start()
    sid = io.connected().sid
    connected = io.connected(sid=sid)
    await io.bus.records.store([connected])
    await io.send(connected)
    await io.until(lambda: sid in io.accepted())
    await sio.enter_room(sid, "a")
    await io.settle()
    await io.send(ClientDisconnected(sid, "transport close", 0, 60_000))
    await io.settle()
    record = await io.bus.records.load(sid)
    assert record is not None
    assert record.away
    await sio.enter_rooms("b", room="a")
    assert await rooms_in_record(io, sid) == {"a", "b"}
    await sio.disconnect_room("b")
    assert await io.bus.records.load(sid) is None


async def test_inside_a_handler(stage: Any) -> None:
    sio = stage.server()
    io = await stage.io_node()

    @sio.event
    async def gather(sid: str) -> Any:
        await sio.enter_room(sid, "asked")  # not written yet
        await sio.enter_rooms("game", room="asked")
        await sio.emit("begin", to="game")
        return sorted(map(str, sio.rooms(sid)))

    await sio.start()
    sid = await io.connect()
    await io.event(sid, "gather", ack_id=1)
    [ack] = await io.wait(1, Ack)
    assert b'"asked","game"' in ack.packet
    kinds = [type(command) for command in io.commands]
    assert kinds.index(JoinMany) < kinds.index(Emit)
    await io.settle()
    assert await rooms_in_record(io, sid) == {"asked", "game"}


async def test_a_lost_answer_of_redis_loses_no_command(memory_stage: Any) -> None:
    sio = memory_stage.echo_server()
    _, _, sids = await two_io_nodes(memory_stage, sio)
    one, two = memory_stage.io_nodes
    change = sio.node.bus.selections.change
    calls = 0

    async def loses_one(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            memory_stage.broker.lose_replies()
        return await change(*args, **options)

    sio.node.bus.selections.change = loses_one
    await sio.leave_rooms("odd", room="odd")
    assert calls == 2
    await two.until(lambda: concerned(two, LeaveMany) == set(sids[1::2]))
    assert concerned(one, LeaveMany) == set()


async def test_what_a_handler_changes_meanwhile_counts(memory_stage: Any) -> None:
    """The record may have it before or after. What is known here becomes what the record says."""
    sio = memory_stage.echo_server()
    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await sio.enter_room(sid, "a")
    change, changed, go_on = sio.node.bus.selections.change, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        matched = await change(*args, **options)
        changed.set()
        await go_on.wait()
        return matched

    sio.node.bus.selections.change = slow
    entering = asyncio.create_task(sio.enter_rooms("b", room="a"))
    await changed.wait()
    await sio.leave_room(sid, "b")
    go_on.set()
    await entering
    await io.wait(1, JoinMany)
    await io.send(RoomChanged(sid, "b", False), RoomChanged(sid, "b", True))
    await io.settle()
    assert "b" not in sio.rooms(sid)
    assert await rooms_in_record(io, sid) == {"a"}
    assert sio.node.counters.rooms_corrected == 1
    corrections: list[Command] = [command for command in io.commands if getattr(command, "tell", False)]
    assert corrections[-1] == Leave(sid, "b", True)


async def test_a_client_whose_connect_handler_runs_is_refused(memory_stage: Any) -> None:
    sio = memory_stage.server()
    entered, go_on = asyncio.Event(), asyncio.Event()

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        await sio.enter_room(sid, "a")
        entered.set()
        await go_on.wait()

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.ask()
    await entered.wait()
    await sio.disconnect_room("a")
    go_on.set()
    await io.settle()
    assert await io.bus.records.load(sid) is None
    assert concerned(io, DisconnectMany) == set()
    assert io.accepted() == []


CHANGES_OF_WHAT_SELECTS: dict[str, tuple[str, Any, dict[str, Any], Any, set[str]]] = {
    "leave": ("leave_rooms", ["b", "a"], {"room": "a"}, LeaveMany, set()),
    "leave, but for some": ("leave_rooms", "a", {"room": "a", "except_room": "c"}, LeaveMany, {"b"}),
    "leave one of several": ("leave_rooms", "a", {"room": ["a", "nobody"]}, LeaveMany, {"b"}),
    "enter": ("enter_rooms", "new", {"room": "a", "except_room": "new"}, JoinMany, {"a", "b", "new"}),
}
"""Which method, its rooms, its selection, the command that follows, and in which rooms the clients are then."""


@pytest.mark.parametrize("change", [name for name in CHANGES_OF_WHAT_SELECTS if name.startswith("leave")])
async def test_outside_of_handlers_who_says_it_again_finds_those_who_have_left(
    stage: Any, kill: Any, change: str
) -> None:
    """A program dies when the records say it, and no io-node has heard of it. Another one is told to do the same."""
    _, rooms, selection, _, expected = CHANGES_OF_WHAT_SELECTS[change]
    app, first, second, io = stage.echo_server(), stage.server(), stage.server(), await stage.io_node()
    await app.start()
    stays, *sids = [await io.connect() for _ in range(4)]
    await app.enter_rooms(["a", "b"], room=sids)
    await app.enter_rooms("b", room=stays)
    await io.settle()
    before = len(io.commands)
    await first.node.open()

    async def flush(*_: Any) -> Any:
        await asyncio.Event().wait()

    first.node.downlink.outbox._appender.flush = flush
    leaving = asyncio.create_task(first.leave_rooms(rooms, **selection))
    async with asyncio.timeout(5):
        while [await rooms_in_record(io, sid) for sid in sids] != [expected] * 3:
            await asyncio.sleep(0.01)
    leaving.cancel()
    await kill(first)
    assert not any(isinstance(command, LeaveMany) for command in io.commands[before:])
    await second.leave_rooms(rooms, **selection)
    await io.settle()
    assert concerned(io, LeaveMany) == set(sids)
    assert await rooms_in_record(io, stays) == {"b"}
    entered = sids[0]
    await app.enter_room(entered, "b")
    before = len(io.commands)
    await second.leave_rooms(rooms, **selection)
    await io.settle()
    again = [command for command in io.commands[before:] if isinstance(command, LeaveMany)]
    left = set(sids) if expected else set(sids[1:])
    assert {sid for command in again for sid in command.sids} == left
    assert "b" in await rooms_in_record(io, entered)


@pytest.mark.parametrize("change", CHANGES_OF_WHAT_SELECTS)
async def test_io_nodes_are_told_although_the_app_node_died(stage: Any, kill: Any, change: str) -> None:
    """It dies when the records say it, and no io-node has heard of it. By then the clients do not match any more."""
    method, rooms, selection, kind, expected = CHANGES_OF_WHAT_SELECTS[change]

    def app() -> Any:
        sio = stage.server()

        @sio.event
        async def go(sid: str) -> None:
            await getattr(sio, method)(rooms, **selection)

        return sio

    first, io = app(), await stage.io_node()
    await first.start()
    asks, *sids = [await io.connect() for _ in range(4)]
    await first.enter_rooms(["a", "b"], room=sids)
    await first.enter_rooms("other", room=asks)
    before = len(io.commands)

    async def flush(*_: Any) -> Any:
        await asyncio.Event().wait()

    first.node.downlink.outbox._appender.flush = flush
    await io.event(asks, "go")
    async with asyncio.timeout(5):
        while [await rooms_in_record(io, sid) for sid in sids] != [expected] * 3:
            await asyncio.sleep(0.01)
    await kill(first)
    assert not any(isinstance(command, kind) for command in io.commands[before:])
    await app().start()
    await io.settle()
    told = [command for command in io.commands[before:] if isinstance(command, kind)]
    assert {sid for command in told for sid in command.sids} == set(sids)
    assert all(command.rooms == ([rooms] if isinstance(rooms, str) else rooms) for command in told)
    assert [await rooms_in_record(io, sid) for sid in (asks, *sids)] == [{"other"}, *[expected] * 3]
