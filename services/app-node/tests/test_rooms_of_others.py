"""Rooms that an app-node changes for clients whose lanes another one holds: in the records, and in that one's eyes."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import Accept, Ack, CloseRoom, Emit, Join, Leave, LeaveMany, RoomChanged
from sio_cluster.streams.api.records import Joined


async def rooms_in_record(io: Any, sid: str) -> Any:
    record = await io.bus.records.load(sid)
    assert record is not None
    return record.rooms


def clients_of_two_lanes(io: Any, lanes: int) -> tuple[Any, Any]:
    """Two clients that want to connect, of different lanes."""
    first = io.connected()
    while True:
        second = io.connected()
        if lane_of(second.sid, lanes) != lane_of(first.sid, lanes):
            return first, second


async def test_what_another_app_node_changes_is_seen_by_the_holder(stage: Any) -> None:
    holder, other = stage.echo_server(), stage.server()
    io = await stage.io_node()
    await holder.start()
    sid = await io.connect()
    await other.enter_room(sid, "a")
    await other.enter_room(sid, 7)
    await other.leave_room(sid, "a")
    assert await rooms_in_record(io, sid) == {7}
    await other.enter_room(sid, "b")
    joins, leaves = await io.wait(3, Join), await io.wait(1, Leave)
    await io.tell(*joins, *leaves)
    await io.settle()
    assert set(holder.rooms(sid)) == {sid, 7, "b"}
    assert [sid for sid, _ in holder.manager.get_participants("/", "b")] == [sid]


async def test_a_client_of_another_namespace_leaves_nothing(stage: Any) -> None:
    """As in python-socketio; and a key of the HTTP API may be for one namespace only."""
    holder, other = stage.echo_server(), stage.server()
    io = await stage.io_node()
    await holder.start()
    sid = await io.connect()
    await other.enter_room(sid, "a")
    for server in (holder, other):
        await server.leave_room(sid, "a", namespace="/shop")
    await other.leave_room(sid, "b")
    assert await rooms_in_record(io, sid) == {"a"}
    assert [leave.room for leave in await io.wait(1, Leave)] == ["b"]


async def test_a_closed_room_leaves_every_record_and_the_view_of_every_holder(stage: Any) -> None:
    holder, other = stage.echo_server(), stage.server()
    io = await stage.io_node()
    await holder.start()
    sids = [await io.connect() for _ in range(6)]
    for sid in sids:
        await holder.enter_room(sid, "a")
        await holder.enter_room(sid, "b")
    await other.close_room("a")
    assert [await rooms_in_record(io, sid) for sid in sids] == [{"b"}] * 6
    await io.wait(1, CloseRoom)
    assert {sid for command in await io.wait(1, LeaveMany) for sid in command.sids} == set(sids)
    await io.send(*[RoomChanged(sid, "a", False) for sid in sids])
    await io.settle()
    assert [set(holder.rooms(sid)) for sid in sids] == [{sid, "b"} for sid in sids]
    assert list(holder.manager.get_participants("/", "a")) == []


async def test_old_news_change_nothing(stage: Any) -> None:
    sio = stage.echo_server()
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await sio.enter_room(sid, "entered again")
    await sio.leave_room(sid, "left again")
    await io.send(RoomChanged(sid, "entered again", False), RoomChanged(sid, "left again", True))
    await io.settle()
    assert set(sio.rooms(sid)) == {sid, "entered again"}


async def test_what_the_holder_says_while_it_reads_the_record_counts(memory_stage: Any) -> None:
    sio = memory_stage.echo_server()
    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.bus.records.update([Joined(sid, "/", "a"), Joined(sid, "/", "b")])
    load, reading, go_on = sio.node.clients.records.load, asyncio.Event(), asyncio.Event()

    async def slow_load(sid: str) -> Any:
        record = await load(sid)
        reading.set()
        await go_on.wait()
        return record

    sio.node.clients.records.load = slow_load
    await io.send(RoomChanged(sid, "a", True), RoomChanged(sid, "b", True))
    await reading.wait()
    await sio.leave_room(sid, "a")
    go_on.set()
    await io.settle()
    assert set(sio.rooms(sid)) == {sid, "b"}
    assert await rooms_in_record(io, sid) == {"b"}


async def test_only_what_concerns_another_lane_must_be_told(stage: Any) -> None:
    sio = stage.server()
    io = await stage.io_node()
    first, second = clients_of_two_lanes(io, stage.config.lanes)

    @sio.event
    async def invite(sid: str, other: str) -> None:
        await sio.enter_room(sid, "own")
        await sio.enter_room(other, "invited")
        assert await rooms_in_record(io, other) == {"invited"}

    await sio.start()
    await io.bus.records.store([first, second])
    await io.send(first, second)
    await io.wait(2, Accept)
    await io.event(first.sid, "invite", second.sid, ack_id=1)
    await io.wait(1, Ack)
    assert set(await io.wait(2, Join)) == {Join(first.sid, "own"), Join(second.sid, "invited", True)}
    assert sio.rooms(second.sid) == [second.sid, "invited"]


async def test_a_client_that_is_gone_or_elsewhere_enters_no_room(stage: Any) -> None:
    sio, other = stage.echo_server(), stage.server()
    io = await stage.io_node()
    await sio.start()
    gone, chat = await io.connect(), io.connected("/chat")
    await io.disconnect(gone)
    await io.settle()
    await io.bus.records.store([chat])
    for server in (sio, other):
        for sid in (gone, chat.sid):
            with pytest.raises(KeyError, match=sid):
                await server.enter_room(sid, "a")
        await server.leave_room(gone, "a")
    await other.emit("end", to="a")
    await io.wait(1, Emit)
    assert not [command for command in io.commands if isinstance(command, Join | Leave)]


async def test_a_client_whose_record_redis_lost_is_not_gone(memory_stage: Any) -> None:
    sio = memory_stage.echo_server()
    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    io.bus.broker.clients.clear()
    await sio.enter_room(sid, "a")
    assert await io.wait(1, Join) == [Join(sid, "a", True)]
    assert sio.rooms(sid) == [sid, "a"]


async def test_the_next_holder_knows_what_was_changed_before(stage: Any, kill: Any) -> None:
    first, second, other = stage.echo_server(), stage.echo_server(), stage.server()
    io = await stage.io_node()
    await first.start()
    sid = await io.connect()
    await first.enter_room(sid, "closed")
    await io.settle()
    await kill(first)
    await other.enter_room(sid, "entered")
    await other.close_room("closed")
    await second.start()
    await io.send(RoomChanged(sid, "closed", False), stage.event(sid, "echo", 1, ack_id=1))
    await io.wait(1, Ack)
    assert set(second.rooms(sid)) == {sid, "entered"}


async def test_rooms_that_an_unfinished_connect_handler_entered_are_known(stage: Any, kill: Any) -> None:
    first, second = stage.server(), stage.server()
    entered = asyncio.Event()

    @first.event
    async def connect(sid: str, environ: Any) -> None:
        await first.enter_room(sid, "a")
        await first.emit("entered", to=sid)
        entered.set()
        await asyncio.Event().wait()

    second.on("connect", lambda sid, environ: None)
    io = await stage.io_node()
    await first.start()
    sid = await io.ask()
    await entered.wait()
    await io.wait(1, Emit)
    await first.node.downlink.writer.emptied()
    await kill(first)
    await second.start()
    await io.wait(1, Accept)
    assert second.rooms(sid) == [sid, "a"]


async def test_a_change_waits_for_itself_alone(memory_stage: Any) -> None:
    """Others go on all the time: the record writer is never idle."""
    sio = memory_stage.echo_server()
    io = await memory_stage.io_node()
    await sio.start()
    sid, busy = await io.connect(), await io.connect()
    writer, records = sio.node.downlink.writer, sio.node.bus.records
    update, number = records.update, iter(range(1_000_000))

    async def never_idle(*args: Any) -> Any:
        writer.change(Joined(busy, "/", next(number)), None)
        return await update(*args)

    records.update = never_idle
    async with asyncio.timeout(5):
        await sio.enter_room(sid, "a")
        assert await rooms_in_record(io, sid) == {"a"}
        await sio.leave_room(sid, "a")
        await sio.close_room("b")
        await io.disconnect(sid)
        await memory_stage.until(lambda: sid not in io.bus.broker.clients)
    records.update = update


async def test_a_room_closed_in_a_handler_is_closed_when_it_returns(stage: Any) -> None:
    sio = stage.server()
    io = await stage.io_node()

    @sio.event
    async def close(sid: str) -> Any:
        await sio.close_room("a")
        return [await rooms_in_record(io, each) for each in sids] == [set()] * len(sids)

    await sio.start()
    sids = [await io.connect() for _ in range(5)]
    await io.bus.records.update([Joined(sid, "/", "a") for sid in sids])
    await io.event(sids[0], "close", ack_id=1)
    assert (await io.wait(1, Ack))[0].packet == b"31[true]"
