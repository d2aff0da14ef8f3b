"""Several app-nodes: sharing lanes, taking over, handing over; what is redelivered, and to whom it is told."""

import asyncio
import json
from typing import Any

import pytest

from sio_cluster.protocol.messages import Accept, Ack, ClientConnected, Disconnect, Emit, Refuse

pytestmark = pytest.mark.slow


async def until(condition: Any, timeout_s: float = 8) -> None:
    """Polls: the cluster's state lies in several processes."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def echo_app(stage: Any, log: list[Any] | None = None, **options: Any) -> Any:
    sio = stage.server(**options)

    @sio.event
    async def echo(sid: str, number: int) -> int:
        if log is not None:
            log.append((sid, number))
        return number

    return sio


async def test_two_app_nodes_share_the_lanes_and_a_stopped_one_gives_its_own_away(stage: Any) -> None:
    # long enough for a busy machine: after a lease that ran out, events come twice, as they should
    stage.config = stage.config.model_copy(update={"lease_ms": 8000, "node_timeout_ms": 9000, "shutdown_ms": 8000})
    log: list[Any] = []
    first, second = echo_app(stage, log), echo_app(stage, log)
    io = await stage.io_node()
    await first.start()
    sids = [await io.connect() for _ in range(12)]
    await second.start()
    everything = set(range(stage.config.lanes))

    def divided() -> bool:
        one, two = first.node.keeper, second.node.keeper
        return one.readable | two.readable == everything and not one.readable & two.readable and bool(two.readable)

    # rendezvous hashing may give one of two nodes nothing when there are four lanes
    if {lane for lane in everything if owner(lane, (first, second)) == second.node.id}:
        await until(divided)
    number = 0
    for step in range(6):
        await io.send(*[stage.event(sid, "echo", number + n, ack_id=number + n) for sid in sids for n in range(20)])
        number += 20
        if step == 2:
            stopping = asyncio.ensure_future(first.shutdown())
    await stopping
    acks = await io.wait(len(sids) * 120, Ack)
    await io.settle()
    await until(lambda: second.node.keeper.readable == everything)
    for sid in sids:
        assert [n for s, n in log if s == sid] == list(range(120))
        assert [ack.packet for ack in acks if ack.sid == sid] == [b"3%d[%d]" % (n, n) for n in range(120)]
    assert len(acks) == len(sids) * 120


def owner(lane: int, servers: tuple[Any, ...]) -> Any:
    from sio_cluster.protocol.ids import lane_owner

    return lane_owner(lane, [server.node.id for server in servers])


async def test_takeover_of_a_vanished_app_node(stage: Any, kill: Any) -> None:
    log: list[Any] = []
    first = stage.server()
    stuck = asyncio.Event()

    @first.event
    async def echo(sid: str, number: int) -> int:
        if number >= 3:
            stuck.set()
            await asyncio.Event().wait()
        log.append((number, first.is_redelivered()))
        return number

    io = await stage.io_node()
    await first.start()
    sid = await io.connect()
    for number in range(8):
        await io.event(sid, "echo", number, ack_id=number)
    await stuck.wait()
    await io.wait(3, Ack)
    await kill(first)
    second = stage.server()

    @second.on("echo")
    async def echo_again(sid: str, number: int, is_redelivered: bool) -> int:
        log.append((number, is_redelivered))
        return number

    await second.start()
    await io.event(sid, "echo", 8, ack_id=8)
    await io.settle()
    packets = [ack.packet for ack in io.commands if isinstance(ack, Ack)]
    numbers = [number for number, _ in log]
    assert packets[-6:] == [b"3%d[%d]" % (n, n) for n in range(3, 9)]
    assert numbers[:3] == [0, 1, 2]
    assert numbers[3:] == sorted(numbers[3:])
    assert set(numbers) == set(range(9))
    assert (8, False) in log
    assert (3, True) in log


async def test_events_wait_while_no_app_node_lives(stage: Any) -> None:
    io = await stage.io_node()
    first = echo_app(stage)
    await first.start()
    sid = await io.connect()
    await first.shutdown()
    waiting = await io.ask()
    for number in range(5):
        await io.event(sid, "echo", number, ack_id=number)
    second = echo_app(stage)
    await second.start()
    acks = await io.wait(5, Ack)
    assert [ack.packet for ack in acks] == [b"3%d[%d]" % (n, n) for n in range(5)]
    await io.wait(2, Accept)
    assert io.accepted() == [sid, waiting]


# --- is_reconnect ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["keyword", "positional", "before-auth", "class", "without"])
async def test_is_reconnect(stage: Any, form: str) -> None:
    calls: list[Any] = []

    def app() -> Any:
        sio = stage.server()
        match form:
            case "keyword":

                @sio.event
                async def connect(sid: str, environ: Any, auth: Any, *, is_reconnect: bool = False) -> None:
                    calls.append(("connect", auth, is_reconnect, environ["REMOTE_ADDR"]))

            case "positional":

                @sio.on("connect")
                def connect2(sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
                    calls.append(("connect", auth, is_reconnect, environ["REMOTE_ADDR"]))

            case "before-auth":

                @sio.on("connect")
                def connect3(sid: str, environ: Any, is_reconnect: bool, auth: Any) -> None:
                    calls.append(("connect", auth, is_reconnect, environ["REMOTE_ADDR"]))

            case "class":
                import socketio

                class Root(socketio.AsyncNamespace):  # type: ignore[misc]
                    async def on_connect(self, sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
                        calls.append(("connect", auth, is_reconnect, environ["REMOTE_ADDR"]))

                sio.register_namespace(Root("/"))
            case _:

                @sio.on("connect")
                async def connect4(sid: str, environ: Any, auth: Any) -> None:
                    calls.append(("connect", auth, False, environ["REMOTE_ADDR"]))

        @sio.on("ping")
        async def ping(sid: str) -> None:
            calls.append("ping")

        @sio.on("disconnect")
        async def disconnect(sid: str, reason: str) -> None:
            calls.append("disconnect")

        return sio

    io = await stage.io_node()
    first = app()
    await first.start()
    one, two = await io.connect(auth={"n": 1}), await io.connect(auth={"n": 2})
    await first.shutdown()
    calls.clear()
    second = app()
    await second.start()
    await io.event(one, "ping")
    await io.event(one, "ping")
    await io.settle()
    again = [] if form == "without" else [("connect", {"n": 1}, True, "10.1.2.3")]
    assert calls == [*again, "ping", "ping"]
    calls.clear()
    await io.disconnect(two)
    await io.disconnect(one)
    await io.settle()
    assert calls.count("disconnect") == 2
    assert len(calls) == (2 if form == "without" else 3)
    assert io.accepted() == [one, two]


async def test_refusing_at_reconnect_disconnects(stage: Any) -> None:
    io = await stage.io_node()
    first = echo_app(stage)
    await first.start()
    sid = await io.connect()
    await first.shutdown()
    seen: list[Any] = []
    second = echo_app(stage, seen)

    @second.event
    async def connect(sid: str, environ: Any, is_reconnect: bool) -> bool:
        return not is_reconnect

    @second.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append(reason)

    await second.start()
    await io.event(sid, "echo", 1, ack_id=1)
    await io.wait(1, Disconnect)
    await io.disconnect(sid, "server disconnect")
    await io.settle()
    assert seen == ["server disconnect"]
    assert not [c for c in io.commands if isinstance(c, Ack)]


async def test_rooms_and_session_come_back_with_the_client(stage: Any) -> None:
    io = await stage.io_node()
    first = stage.server()

    @first.event
    async def connect(sid: str, environ: Any) -> None:
        await first.enter_room(sid, "lobby")
        await first.enter_room(sid, 7)
        await first.save_session(sid, {"n": 1})

    await first.start()
    sid = await io.connect()
    await first.shutdown()
    second = stage.server()

    @second.event
    async def look(sid: str) -> Any:
        async with second.session(sid) as session:
            session["n"] += 1
        return sorted(map(str, second.rooms(sid))), session, second.transport(sid)

    await second.start()
    await io.event(sid, "look", ack_id=1)
    ack = (await io.wait(1, Ack))[0]
    assert json.loads(ack.packet[2:]) == [["7", sid, "lobby"], {"n": 2}, "polling"]


async def test_redelivered_connect_of_an_accepted_client_is_accepted_again_without_a_second_call(
    stage: Any, kill: Any
) -> None:
    io = await stage.io_node()
    calls = []

    def app() -> Any:
        sio = stage.server()

        @sio.event
        async def connect(sid: str, environ: Any) -> None:
            calls.append(sid)

        return sio

    first = app()
    await first.start()
    fact = io.connected()
    await io.streams.records.store([fact])
    await connected_but_not_committed(first, io, fact)
    await kill(first)
    second = app()
    await second.start()
    await io.wait(2, Accept)
    await io.settle()
    assert calls == [fact.sid]
    assert io.accepted() == [fact.sid, fact.sid]


async def connected_but_not_committed(server: Any, io: Any, fact: ClientConnected) -> None:
    """Everything of the connect is done except for its commit."""
    node = server.node
    node._tasks["commit"].cancel()
    await io.send(fact)
    await io.wait(1, Accept)
    lane = next(lane for lane in node.keeper.held.values() if lane.in_work)
    await until(lambda: lane.to_commit)


# --- io-nodes that die -----------------------------------------------------------------------------------------------


async def test_clients_of_a_lost_io_node_are_disconnected_once(stage: Any) -> None:
    seen = []
    sio = stage.server()

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append((sid, reason))

    io = await stage.io_node()
    await sio.start()
    sids = [await io.connect() for _ in range(250)]
    await io.disconnect(sids[0])
    await io.settle()
    await io.streams.registry.heartbeat(io.id, 1)
    await until(lambda: len(seen) == 250)
    await io.settle()
    assert sorted(seen[1:]) == sorted((sid, "node lost") for sid in sids[1:])
    assert seen[0] == (sids[0], "transport close")
    assert await io.streams.registry.lost_io_nodes() == []
    assert await io.streams.records.clients_of(io.id) == []


async def test_an_io_node_that_comes_back_while_its_clients_are_disconnected(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds itself not registered, and closes its connections: none stays open that the application has seen off."""
    monkeypatch.setattr(
        "app_node.membership.reaper.PAUSE_S", 0.5
    )  # it comes back between the two chunks, also on a busy machine
    seen: list[str] = []
    sio = stage.server()
    begun = asyncio.Event()

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append(sid)
        begun.set()

    io = await stage.io_node()
    await sio.start()
    sids = [await io.connect() for _ in range(250)]
    await io.streams.registry.heartbeat(io.id, 1)
    await asyncio.wait_for(begun.wait(), 8)
    await io.streams.registry.heartbeat(io.id, 60_000)
    assert io.id not in await io.streams.registry.registered_io_nodes()
    await io.streams.registry.register_io_node(io.id, {})
    newer = await io.connect()
    await until(lambda: sio.node.counters["io_nodes_lost"] == 1)
    await io.settle()
    assert sorted(seen) == sorted(sids)
    assert await io.streams.registry.registered_io_nodes() == [io.id]
    assert await io.streams.records.clients_of(io.id) == [newer]


# --- handlers that are late ------------------------------------------------------------------------------------------


async def test_a_clean_stop_lets_handlers_finish(stage: Any) -> None:
    sio = stage.server()
    begun, gate = asyncio.Event(), asyncio.Event()

    @sio.event
    async def slow(sid: str) -> str:
        begun.set()
        await gate.wait()
        await sio.emit("more", to=sid)
        return "done"

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "slow", ack_id=1)
    await begun.wait()
    node = sio.node
    stopping = asyncio.ensure_future(sio.shutdown())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    assert sio.node is node  # what the handler emits now goes through the node that stops
    gate.set()
    await stopping
    await io.wait(1, Ack)
    assert [type(c) for c in io.commands] == [Accept, Emit, Ack]
    await io.settle()
    assert await io.streams.registry.app_nodes() == {}


async def test_a_handler_that_never_ends_does_not_hold_up_the_stop_and_is_run_again(stage: Any) -> None:
    io = await stage.io_node()
    sio = stage.server()
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @sio.event
    async def slow(sid: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await sio.start()
    sid = await io.connect()
    await io.event(sid, "slow", ack_id=1)
    await begun.wait()
    await asyncio.wait_for(sio.shutdown(), 5)
    assert cancelled.is_set()
    second = stage.server()

    @second.on("slow")
    async def quick(sid: str) -> str:
        return "again"

    await second.start()
    assert (await io.wait(1, Ack))[0].packet == b'31["again"]'
    assert not [c for c in io.commands if isinstance(c, Refuse)]


async def test_malformed_entries_are_set_aside(stage: Any) -> None:
    sio = echo_app(stage)
    io = await stage.io_node()
    await sio.start()
    for lane in range(stage.config.lanes):
        await io.send_raw(lane, b"\xc1 no batch")
    sid = await io.connect()
    await io.event(sid, "echo", 1, ack_id=1)
    await io.wait(1, Ack)
    await io.settle()
    assert sio.node.counters["dead_letters"] == stage.config.lanes
    assert sio.node.counters["dead_letters_lost"] == 0


async def test_dead_letters_that_are_one_too_many_are_counted(
    memory_stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sio_cluster.streams.memory.lanes._DEAD_ENTRIES", 3)
    sio = echo_app(memory_stage)
    io = await memory_stage.io_node()
    await sio.start()
    for _ in range(5):
        await io.send_raw(0, b"\xc1 no batch")
    await io.settle()
    assert sio.node.counters["dead_letters"] == 5
    assert sio.node.counters["dead_letters_lost"] == 2


async def test_the_reaper_is_not_taken_for_an_io_node(stage: Any) -> None:
    sio = stage.server()
    gone, io = await stage.io_node("io1"), await stage.io_node("io2")
    await sio.start()
    for _ in range(5):
        await gone.connect()
    await gone.streams.registry.heartbeat(gone.id, 1)
    await until(lambda: sio.node.counters["clients_disconnected"] == 5)
    await asyncio.sleep(0.6)
    await sio.emit("news")
    await io.wait(1, Emit)
    assert sio.node.id not in set(await sio.node.routes.all())


async def test_a_server_object_does_not_hang_in_a_second_event_loop(memory_stage: Any) -> None:
    sio = memory_stage.server()

    def elsewhere() -> None:
        asyncio.run(sio.emit("x"))

    await sio.emit("x")
    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(elsewhere)


async def test_an_error_at_reconnect_sends_nobody_away(stage: Any) -> None:
    io = await stage.io_node()
    first = echo_app(stage)
    await first.start()
    sid = await io.connect()
    await first.shutdown()
    second = echo_app(stage)

    @second.event
    async def connect(sid: str, environ: Any, is_reconnect: bool) -> None:
        raise ZeroDivisionError

    await second.start()
    await io.event(sid, "echo", 1, ack_id=1)
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b"31[1]"]
    assert not [c for c in io.commands if isinstance(c, Disconnect)]
