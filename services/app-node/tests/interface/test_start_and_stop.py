"""`start` and `shutdown` at the same time: nothing of a node runs after its `shutdown` has returned."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app_node.downlink.routes import MAX_AGE_S
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import Ack

STOPPED = "RuntimeError('this app-node was stopped: Redis may not have all of this')"
LOOPS = {"outbox", "records", "inbox", "unanswered", "heartbeat", "watch", "renew", "read", "plan", "reaper"}


def loops_that_run() -> set[str]:
    return LOOPS & {task.get_name() for task in asyncio.all_tasks()}


def held_up(call: Callable[..., Awaitable[Any]]) -> tuple[Callable[..., Awaitable[Any]], asyncio.Event, asyncio.Event]:
    """`call`, which waits for a gate before it goes on; an event that tells of its begin; the gate."""
    begun, gate = asyncio.Event(), asyncio.Event()

    async def wait_first(*args: Any) -> Any:
        begun.set()
        await gate.wait()
        return await call(*args)

    return wait_first, begun, gate


async def test_a_shutdown_while_on_start_runs_is_the_end(stage: Any) -> None:
    sio = stage.echo_server()
    begun, gate = asyncio.Event(), asyncio.Event()

    @sio.on_start
    async def prepare() -> None:
        begun.set()
        await gate.wait()

    starting = asyncio.create_task(sio.start())
    await begun.wait()
    await asyncio.wait_for(sio.shutdown(), 5)
    gate.set()
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        await starting
    assert not loops_that_run()


async def test_an_on_start_handler_may_shut_down(stage: Any) -> None:
    sio = stage.echo_server()

    @sio.on_start
    async def prepare() -> None:
        await sio.shutdown()

    with pytest.raises(RuntimeError, match="stopped before it had started"):
        await asyncio.wait_for(sio.start(), 5)
    assert not loops_that_run()


@pytest.mark.parametrize("step", ["join_cluster", "heartbeat", "next_epoch", "app_nodes"])
async def test_a_shutdown_cuts_off_a_start_wherever_it_waits_for_redis(stage: Any, step: str) -> None:
    sio = stage.echo_server()
    registry = sio.node.bus.registry
    wait_first, begun, _gate = held_up(getattr(registry, step))
    setattr(registry, step, wait_first)
    starting = asyncio.create_task(sio.start())
    await begun.wait()
    await asyncio.wait_for(sio.shutdown(), 5)
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        await starting
    assert not loops_that_run()
    io = await stage.io_node()
    assert await io.bus.registry.app_nodes() == {}
    await sio.start()  # as a new app-node
    assert sorted(sio.node.keeper.held) == [0, 1, 2, 3]


async def test_a_start_during_a_shutdown_starts_a_new_app_node(stage: Any) -> None:
    sio = stage.echo_server()
    await sio.start()
    former = sio.node
    stopping = asyncio.create_task(sio.shutdown())
    await asyncio.sleep(0)
    await sio.start()
    assert stopping.done()
    assert sio.node is not former
    assert sorted(sio.node.keeper.held) == [0, 1, 2, 3]


@pytest.mark.parametrize("step", ["join_cluster", "next_epoch"])
async def test_what_waits_for_redis_during_a_shutdown_does_not_open_the_node_later(
    memory_stage: Any, step: str
) -> None:
    sio = memory_stage.server()
    registry = sio.node.bus.registry
    wait_first, begun, gate = held_up(getattr(registry, step))
    setattr(registry, step, wait_first)
    asking = asyncio.create_task(sio.call("ask", to="io1-a.b"))
    await begun.wait()
    await asyncio.wait_for(sio.shutdown(), 5)
    gate.set()
    with pytest.raises(RuntimeError, match="stopped before it had started"):
        await asking
    assert not loops_that_run()


async def test_a_shutdown_that_is_cancelled_ends_the_node_all_the_same(memory_stage: Any) -> None:
    sio = memory_stage.server()
    io = await memory_stage.io_node()

    @sio.event
    async def hang(sid: str) -> None:
        await asyncio.Event().wait()

    await sio.start()
    sid = await io.connect()
    await io.event(sid, "hang")
    await memory_stage.until(lambda: sio.node.uplink.consumer.facts_in_work)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sio.shutdown(), 0.05)
    assert not loops_that_run()


async def test_emits_that_are_under_way_when_a_shutdown_ends_raise(stage: Any) -> None:
    sio = stage.server()
    await stage.io_node()
    await sio.emit("first", 0)

    async def emit_on_and_on() -> None:
        while True:
            await sio.emit("news", 1)

    emitting = [asyncio.create_task(emit_on_and_on()) for _ in range(5)]
    await asyncio.sleep(0.05)
    await asyncio.wait_for(sio.shutdown(), 10)
    ends = await asyncio.wait_for(asyncio.gather(*emitting, return_exceptions=True), 5)
    assert [repr(end) for end in ends] == [STOPPED] * 5


def emit(sio: Any, sid: str) -> Awaitable[Any]:
    return sio.emit("news", "x" * 1_000, to=sid)  # type: ignore[no-any-return]


def emit_to_all(sio: Any, sid: str) -> Awaitable[Any]:
    return sio.emit("news", 1)  # type: ignore[no-any-return]


def enter_room(sio: Any, sid: str) -> Awaitable[Any]:
    return sio.enter_room(sid, "tea")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("part", "step", "calls"),
    [
        ("appender", "flush", [emit, emit]),  # the second waits for room
        ("records", "update", [enter_room]),
        ("registry", "registered_io_nodes", [emit_to_all]),
    ],
)
async def test_what_waits_for_redis_when_a_node_ends_raises(
    make_stage: Any, memory_stage: Any, part: str, step: str, calls: list[Callable[[Any, str], Awaitable[Any]]]
) -> None:
    config = Config(lanes=1, lease_ms=2_000, shutdown_ms=1_000, max_inflight_bytes=1_000)
    stage = make_stage(config, memory_stage.make_bus, None)
    sio, io = stage.echo_server(), await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await stage.until(lambda: sio.node.downlink.outbox.waiting == 0)
    await asyncio.sleep(MAX_AGE_S)  # now the list of io-nodes is old
    owner = getattr(sio.node.bus, part)
    wait_first, begun, _gate = held_up(getattr(owner, step))
    setattr(owner, step, wait_first)
    asking = [asyncio.ensure_future(call(sio, sid)) for call in calls]
    await asyncio.wait_for(begun.wait(), 5)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(sio.shutdown(), 0.05)
    ends = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 5)
    assert {repr(end) for end in ends} == {STOPPED}


@pytest.mark.parametrize("how", ["event", "connect", "disconnect", "child"])
async def test_a_handler_may_shut_down(stage: Any, how: str) -> None:
    """Else the stop and the handler waited for each other, and the next app-node that began the event stopped too."""
    io = await stage.io_node()
    runs: list[str] = []

    def make_server() -> Any:
        server = stage.server()

        async def run(name: str) -> None:
            runs.append(name)
            if name == how:
                await server.shutdown()
            elif (name, how) == ("event", "child"):
                await asyncio.gather(server.shutdown())

        @server.event
        async def connect(sid: str, environ: Any) -> None:
            await run("connect")

        @server.event
        async def event(sid: str) -> str:
            await run("event")
            return "done"

        @server.event
        async def disconnect(sid: str, reason: str) -> None:
            await run("disconnect")

        return server

    first, second = make_server(), make_server()
    await first.start()
    node = first.node
    sid = await io.connect()
    await io.event(sid, "event", ack_id=1)
    await io.disconnect(sid)
    await node.over.wait()
    assert "facts_abandoned" not in node.counters.totals()
    await second.start()
    await io.settle()
    assert runs == ["connect", "event", "disconnect"]
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b'31["done"]']
