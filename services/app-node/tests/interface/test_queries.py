"""What an application may ask about the clients of the whole cluster; over the fakes and over Valkey."""

import asyncio
import time
from typing import Any

import pytest

from sio_cluster.protocol.errors import BusUnavailable, NodesTooOld
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import LEVEL, Ack, ClientUpgraded, Disconnect, Emit, Join, Leave
from sio_cluster.streams.redis import lookup

NEW = {"level": str(LEVEL)}


@pytest.fixture(autouse=True)
def patient_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "TIMEOUT_S", 5.0)


async def started(stage: Any) -> tuple[Any, Any, Any]:
    """A server that serves all clients, one that only asks, and an io-node."""
    holder, other = stage.echo_server(), stage.server()
    for name in ("/chat", "/"):
        holder.on("connect", _let_in, namespace=name)
    io = await stage.io_node(**NEW)
    await holder.start()
    return holder, other, io


async def _let_in(sid: str, environ: Any, auth: Any) -> None:
    pass


async def until_counted(sio: Any, number: int, **of: Any) -> None:
    """Until so many count: `Accept` comes before the record says so. Waits out a node that is too old."""
    async with asyncio.timeout(8):
        while await counted(sio, **of) != number:  # Redis tells nobody
            await asyncio.sleep(0.01)


async def counted(sio: Any, **of: Any) -> int | None:
    """How many there are, None where a node is too old."""
    try:
        number: int = await sio.count(**of)
    except NodesTooOld:
        return None
    return number


async def test_clients_of_any_app_node(stage: Any) -> None:
    holder, other, io = await started(stage)
    sids = [await io.connect() for _ in range(5)]
    chat = await io.connect("/chat")
    await until_counted(other, 5)
    await until_counted(other, 1, namespace="/chat")
    for sid in sids[:3]:
        await other.enter_room(sid, "a")
    await other.enter_room(sids[0], 7)
    await holder.save_session(sids[0], {"user": "ada"})
    await io.send(ClientUpgraded(sids[0], "websocket"))
    await io.settle()
    for sio in (holder, other):
        assert await sio.count("a") == 3
        assert await sio.count(sids[0]) == 1
        assert await sio.count(chat) == 0
        assert await sio.count(chat, "/chat") == 1
        assert await sio.all_rooms() == {"a": 3, 7: 1}
        assert await sio.all_rooms("a") == {"a": 3}
        assert await sio.all_rooms(namespace="/chat") == {}
        page = await sio.clients("a", limit=2)
        sids_found = [client.sid for client in page]
        while page.cursor is not None:
            page = await sio.clients("a", limit=2, cursor=page.cursor)
            sids_found += [client.sid for client in page]
        assert sorted(sids_found) == sorted(sids[:3])
        assert {client.sid async for client in sio.iter_clients("a") if 7 not in client.rooms} == {*sids[1:3]}
        assert [client.sid async for client in sio.iter_clients(namespace="/chat")] == [chat]
        assert [client.sid for client in await sio.clients(sids[1])] == [sids[1]]
        assert sorted([client.sid async for client in sio.iter_clients()]) == sorted(sids)
        client = await sio.client(sids[0])
        assert (client.sid, client.namespace, client.session) == (sids[0], "/", {"user": "ada"})
        assert (client.rooms[0], set(client.rooms)) == (sids[0], {sids[0], "a", 7})
        assert (client.transport, client.io_node) == ("websocket", io.id)
        assert client.environ["HTTP_HOST"] == "example.org:81"
        assert client.connected_at is not None
        assert (await sio.client(sids[4])).session == {}
        for nobody in (io.connected().sid, "nobody", ""):
            assert await sio.client(nobody) is None
        with pytest.raises(TypeError):
            await sio.count(["a", "b"])
        with pytest.raises(ValueError, match="a page has"):
            await sio.clients(limit=0)


async def test_a_cursor_is_for_the_question_that_gave_it(memory_stage: Any) -> None:
    """Of another room it would leave out clients, and nobody would know. 7 and "7" are two rooms."""
    holder, other, io = await started(memory_stage)
    for room in ("a", 7):
        for sid in [await io.connect() for _ in range(2)]:
            await holder.enter_room(sid, room)
    chat = [await io.connect("/chat") for _ in range(2)]
    for sid in chat:
        await holder.enter_room(sid, "a", namespace="/chat")
    await until_counted(other, 4)
    await until_counted(other, 2, namespace="/chat")
    questions: list[dict[str, Any]] = [
        {"room": "a"}, {}, {"room": 7}, {"namespace": "/chat"}, {"room": "a", "namespace": "/chat"}
    ]  # fmt: skip
    never_paged = [{"room": "7"}, {"room": "b"}, {"room": chat[0]}, {"room": chat[0], "namespace": "/chat"}]
    for asked in questions:
        cursor = (await other.clients(**asked, limit=1)).cursor
        assert cursor is not None
        assert await other.clients(**asked, limit=7, cursor=cursor)
        for another in (*questions, *never_paged):
            if another != asked:
                with pytest.raises(ValueError, match="another room or namespace"):
                    await other.clients(**another, cursor=cursor)


@pytest.mark.parametrize("cursor", ["", "x", "io1-aaaaaa", "io1-aaaaaa.AAAAAAAAAAAAAAAA", "x~y", "~", "\ud800"])
async def test_what_is_no_cursor(memory_stage: Any, cursor: str) -> None:
    with pytest.raises(ValueError, match="is no cursor of a page"):
        await memory_stage.server().clients(cursor=cursor)


async def test_acting_for_a_client(stage: Any) -> None:
    _, other, io = await started(stage)
    sid = await io.connect("/chat")
    await until_counted(other, 1, namespace="/chat")
    client = await other.client(sid)
    await client.emit("hello", 1)
    assert [emit.to for emit in await io.wait(1, Emit)] == [[sid]]
    await client.enter_room("a")
    assert await other.count("a", "/chat") == 1
    await client.leave_room("a")
    assert await other.count("a", "/chat") == 0
    assert (len(await io.wait(1, Join)), len(await io.wait(1, Leave))) == (1, 1)
    await client.save_session({"n": 1})
    assert (await other.client(sid)).session == {"n": 1}
    await client.disconnect()
    assert [command.sid for command in await io.wait(1, Disconnect)] == [sid]


async def test_asking_one_client(stage: Any) -> None:
    """It alone is asked, whichever app-node serves it; and what it answers is what the call returns."""
    holder, other, io = await started(stage)
    sid = await io.connect()
    await io.connect()
    await until_counted(other, 2)
    for number, sio in enumerate((holder, other), 1):
        asking = asyncio.create_task((await sio.client(sid)).call("question", {"n": 1}, timeout=5))
        emit = (await io.wait(number, Emit))[-1]
        assert emit.to == [sid]
        await io.answer(sio.node.id, emit.ack.ack_id, sid, number)
        assert await asking == number


async def test_a_room_is_there_as_long_as_somebody_is_in_it(stage: Any) -> None:
    holder, other, io = await started(stage)
    sid, second = await io.connect(), await io.connect()
    await until_counted(other, 2)
    await holder.enter_rooms(["a", "b", "c"], room=sid)
    await holder.enter_room(second, "c")
    await holder.leave_room(sid, "b")
    await holder.leave_room(sid, "never entered")
    for sio in (holder, other):
        assert sorted(map(str, sio.rooms(sid)[1:])) == ["a", "c"]
        assert await sio.all_rooms() == {"a": 1, "c": 2}
    await io.disconnect(sid)
    await io.settle()
    await until_counted(other, 1)
    for sio in (holder, other):
        assert (await sio.all_rooms(), await sio.count("a")) == ({"c": 1}, 0)
        assert await sio.clients("a") == []
    await holder.enter_room(second, 7)
    await holder.leave_rooms(holder.rooms(second)[1:], room=second)  # `leaveAll` of Socket.IO
    for sio in (holder, other):
        assert (sio.rooms(second), await sio.all_rooms()) == ([second], {})


async def test_a_handler_sees_what_it_has_done(stage: Any) -> None:
    sio = stage.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.enter_room(sid, "all")
        assert await sio.count("all") == 0  # it is not connected yet

    @sio.event
    async def move(sid: str) -> Any:
        await sio.enter_room(sid, "a")
        await sio.leave_room(sid, "all")
        client = await sio.client(sid)
        return [await sio.count("a"), await sio.count("all"), await sio.all_rooms(), client.rooms[1:]]

    io = await stage.io_node(**NEW)
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "move", ack_id=1)
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b'31[[1,0,{"a":1},["a"]]]']


async def test_who_disconnects_counts_no_more(stage: Any) -> None:
    holder, other, io = await started(stage)
    sids = [await io.connect() for _ in range(3)]
    await io.disconnect(sids[0])
    await io.settle()
    await until_counted(other, 2)
    await holder.disconnect(sids[1])
    assert await holder.count() == 1
    assert [client.sid for client in await other.clients()] == [sids[2]]


async def test_python_socketios_own_questions_about_clients_of_others(stage: Any) -> None:
    holder, other, io = await started(stage)
    sid, second = await io.connect(), await io.connect()
    await until_counted(other, 2)
    await holder.enter_room(sid, "a")
    for sio in (other, holder):
        assert sio.rooms(sid) == [sid, "a"]
        assert sio.rooms(sid, "/chat") == []
        assert sio.transport(sid) == "polling"
        assert sio.get_environ(sid)["HTTP_HOST"] == "example.org:81"
        assert sio.get_environ(sid, "/chat") is None
        assert sio.manager.is_connected(sid, "/")
        assert not sio.manager.is_connected(sid, "/chat")
        assert list(sio.manager.get_participants("/", "a")) == [(sid, sid)]
        assert sorted(sio.manager.get_participants("/", None)) == sorted([(sid, sid), (second, second)])
        assert list(sio.manager.get_participants("/", ["a", sid])) == [(sid, sid)]
        assert list(sio.manager.get_participants("/", second)) == [(second, second)]
        assert await sio.get_session(sid) == {}
        for nobody in (io.connected().sid, "nobody", ""):
            assert sio.rooms(nobody) == []
            assert sio.get_environ(nobody) is None
            assert not sio.manager.is_connected(nobody, "/")
            assert list(sio.manager.get_participants("/", nobody)) == []
            with pytest.raises(KeyError):
                sio.transport(nobody)


async def test_clients_come_and_go_while_participants_are_told(memory_stage: Any) -> None:
    """An application awaits something for each of them."""
    holder, other, io = await started(memory_stage)
    first = [await io.connect() for _ in range(3)]
    await until_counted(other, 3)
    told = []
    for sid, _ in holder.manager.get_participants("/", None):
        told.append(sid)
        await io.connect()
        await until_counted(other, 3 + len(told))
    assert told[:3] == first
    assert len(set(told)) == len(told)


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 2.0}, {"limit": True}, {"limit": "2"}, {"cursor": 7}, {"namespace": 5}, {"room": ["a"]}, {"room": True}],
)
async def test_a_wrong_type_is_said_at_once(stage: Any, wrong: dict[str, Any]) -> None:
    """Redis would refuse some of them, and a refusal of Redis is waited out."""
    sio = stage.server()
    async with asyncio.timeout(5):
        with pytest.raises(TypeError, match=r" (is|are) an? .*, not "):
            await sio.clients(**wrong)


async def test_wrong_types_in_other_questions(memory_stage: Any) -> None:
    sio = memory_stage.server()
    for question in (sio.count(namespace=5), sio.all_rooms(namespace=5), sio.all_rooms(5), sio.all_rooms(None)):
        with pytest.raises(TypeError, match="is a str, not "):
            await question


async def test_while_redis_is_away(memory_stage: Any) -> None:
    holder, other, io = await started(memory_stage)
    sid = await io.connect()
    await until_counted(other, 1)
    memory_stage.broker.go_down()
    assert holder.rooms(sid) == [sid]
    with pytest.raises(BusUnavailable):
        other.rooms(sid)
    count = asyncio.create_task(other.count())
    await asyncio.sleep(0.05)
    assert not count.done()
    memory_stage.broker.come_back()
    assert await count == 1


async def test_nodes_of_an_older_release(stage: Any) -> None:
    holder, other, io = await started(stage)
    sid = await io.connect()
    await until_counted(other, 1)
    old = await stage.io_node("io2", level=2)
    async with asyncio.timeout(8):
        while await counted(other) is not None:  # it looks again when its last look is old
            await asyncio.sleep(0.05)
    assert (await other.client(sid)).sid == sid
    assert other.rooms(sid) == [sid]
    assert list(holder.manager.get_participants("/", None)) == [(sid, sid)]
    await old.bus.registry.unregister_io_node(old.id)
    await until_counted(other, 1)


async def test_two_app_nodes_and_a_silent_io_node(stage: Any) -> None:
    """Queries ask no peer: neither an io-node that stands still nor a lane that nobody holds delays them."""
    first, second = stage.echo_server(), stage.echo_server()
    io, silent = await stage.io_node(**NEW), await stage.io_node("io2", **NEW)
    await first.start()
    await second.start()
    everything = set(range(stage.config.lanes))
    await stage.until(lambda: first.node.keeper.readable | second.node.keeper.readable == everything)
    sids = [await node.connect() for node in (io, silent) for _ in range(6)]
    assert len({lane_of(sid, stage.config.lanes) for sid in sids}) > 1
    await until_counted(first, 12)
    silent._reader.cancel()
    for sid in sids:
        await (first if sid < sids[3] else second).enter_room(sid, "all")
    begin = time.process_time()
    for sio in (first, second):
        assert await sio.count("all") == 12
        assert {client.sid for client in await sio.clients("all")} == set(sids)
    assert time.process_time() - begin < 1
    await first.close_room("all")
    for sio in (first, second):
        assert (await sio.count("all"), await sio.all_rooms()) == (0, {})
