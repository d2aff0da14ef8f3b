"""Redis away, replies lost, a process that was stopped for a while."""

import asyncio
from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ClusterMismatch, LeaseLost
from sio_cluster.protocol.messages import Ack, Disconnect, Emit
from sio_cluster.streams.memory import MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import start_valkey

pytestmark = pytest.mark.slow

SLOW_LEASE = {"heartbeat_ms": 100, "lease_ms": 8000, "node_timeout_ms": 9000, "shutdown_ms": 1500, "lanes": 4}


def echo_app(stage: Any, seen: list[int], **options: Any) -> Any:
    sio = stage.server(**options)

    @sio.event
    async def echo(sid: str, number: int) -> int:
        seen.append(number)
        await sio.emit("heard", number, to=sid)
        return number

    return sio


def numbers(io: Any, kind: Any, sid: str) -> list[int]:
    texts = [c.packet for c in io.commands if isinstance(c, kind)]
    return [int(text.rpartition(b"[" if kind is Ack else b",")[2][:-1]) for text in texts]


async def test_lost_replies_make_no_duplicates(memory_stage: Any) -> None:
    stage = memory_stage
    seen: list[int] = []
    sio = echo_app(stage, seen)
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    for number in range(30):
        await io.event(sid, "echo", number, ack_id=number)
        if number % 5 == 0:
            await asyncio.sleep(0.005)
            node = sio.node
            await lose_one_flush(node)
    await io.wait(30, Ack)
    await io.settle()
    assert seen == list(range(30))
    assert numbers(io, Ack, sid) == list(range(30))
    assert numbers(io, Emit, sid) == list(range(30))


async def lose_one_flush(node: Any) -> None:
    """The next flush of this app-node takes effect, and its reply is lost."""
    from sio_cluster.protocol.errors import BusUnavailable

    appender = node.downlink.outbox._appender
    original = appender.flush

    async def flush(*arguments: Any) -> Any:
        appender.flush = original
        await original(*arguments)
        raise BusUnavailable("the reply was lost")

    appender.flush = flush


async def test_the_cluster_is_founded_anew_after_redis_lost_its_data(memory_stage: Any) -> None:
    """Else an io-node with other lanes could join."""
    sio = echo_app(memory_stage, [])
    await sio.start()
    memory_stage.broker.lose_data()
    async with asyncio.timeout(5):
        while not memory_stage.broker.app_nodes:
            await asyncio.sleep(0.01)
    with pytest.raises(ClusterMismatch):
        await MemoryBus(Config(LANES=3), memory_stage.broker).start()


@pytest.mark.parametrize("away_s", [0.2, 1.2])
async def test_redis_away(memory_stage: Any, away_s: float) -> None:
    """Shorter than a lease: nothing is done twice. Longer: everything is done, in order, and told as redelivered."""
    stage = memory_stage
    seen: list[int] = []
    sio = echo_app(stage, seen)
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.bus.registry.heartbeat(io.id, 3_600_000)
    await io.send(*[stage.event(sid, "echo", n, ack_id=n) for n in range(20)])
    while not seen:
        await asyncio.sleep(0)
    io._reader.cancel()  # it is no part of this test
    stage.broker.go_down()
    await asyncio.sleep(away_s)
    stage.broker.come_back()
    io._reader = asyncio.create_task(io._read())
    await io.send(*[stage.event(sid, "echo", n, ack_id=n) for n in range(20, 40)])
    await io.settle()
    await sio.node.downlink.outbox.emptied()
    await io.wait(40, Ack)
    acks = numbers(io, Ack, sid)
    assert list(dict.fromkeys(acks)) == list(range(40))
    assert list(dict.fromkeys(seen)) == list(range(40))
    if away_s < 0.5:
        assert acks == list(range(40))


async def test_a_process_that_was_stopped_notices_before_it_does_anything(memory_stage: Any) -> None:
    stage = memory_stage
    jump = [0.0]
    begun, gate, refused = asyncio.Event(), asyncio.Event(), asyncio.Event()
    runs = []
    sio = stage.server(clock=lambda: asyncio.get_running_loop().time() + jump[0])

    @sio.event
    async def work(sid: str) -> str:
        runs.append(sio.is_redelivered())
        if len(runs) == 1:
            begun.set()
            await gate.wait()
            try:
                await sio.emit("too late", to=sid)
            except LeaseLost:
                refused.set()
                raise
        return "done"

    @sio.event
    async def other(sid: str) -> str:
        return "other"

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "work", ack_id=1)
    await begun.wait()
    jump[0] = 60.0  # the process slept, and wakes up in its handler
    gate.set()
    await asyncio.wait_for(refused.wait(), 2)
    await io.event(sid, "other", ack_id=2)
    await io.settle()
    assert runs == [False, True]
    assert [c.packet for c in io.commands if isinstance(c, Ack)] == [b'31["done"]', b'32["other"]']
    assert not [c for c in io.commands if isinstance(c, Emit)]


async def test_uplink_in_work_is_bounded(memory_stage: Any) -> None:
    stage = memory_stage
    stage.config = Config(**SLOW_LEASE, MAX_INFLIGHT_BYTES=20_000)
    sio = stage.server()
    gate = asyncio.Event()
    running = 0

    @sio.event
    async def work(sid: str, data: str) -> None:
        nonlocal running
        running += 1
        await gate.wait()

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    for _ in range(40):
        for _ in range(5):
            await io.event(sid, "work", "x" * 1000)
        await asyncio.sleep(0.002)
    assert running <= 20 + 32
    gate.set()
    await io.settle()
    assert running == 200


async def test_emit_waits_while_the_outbox_is_full(memory_stage: Any) -> None:
    stage = memory_stage
    stage.config = Config(**SLOW_LEASE, MAX_INFLIGHT_BYTES=20_000)
    sio = stage.server()
    sent = 0

    @sio.event
    async def flood(sid: str) -> None:
        nonlocal sent
        for _ in range(100):
            await sio.emit("x", "y" * 1000, to=sid)
            sent += 1

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    appender = sio.node.downlink.outbox._appender
    original, gate = appender.flush, asyncio.Event()

    async def stalled(*arguments: Any) -> Any:
        await gate.wait()
        return await original(*arguments)

    appender.flush = stalled
    await io.event(sid, "flood", ack_id=1)
    while sent < 15:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert sent <= 20
    gate.set()
    await io.wait(1, Ack)
    assert sent == 100
    assert len([c for c in io.commands if isinstance(c, Emit)]) == 100


@pytest.mark.parametrize("trouble", ["pause", "restart"])
async def test_valkey_stalls_or_restarts(trouble: str, make_stage: Any) -> None:
    """With an append-only file nothing is lost; clients' events and answers stay in order."""
    with start_valkey(appendonly="yes", appendfsync="always") as server:
        stage = make_stage(Config(REDIS_URL=server.url, **SLOW_LEASE), RedisBus, None)
        seen: list[int] = []
        sio = echo_app(stage, seen)
        io = await stage.io_node()
        await sio.start()
        sid = await io.connect()
        for number in range(30):
            await io.event(sid, "echo", number, ack_id=number)
        if trouble == "pause":
            server.pause()
            await asyncio.sleep(0.7)
            server.resume()
        else:
            io._reader.cancel()
            await asyncio.to_thread(server.restart)
            io._reader = asyncio.create_task(io._read())
        for number in range(30, 60):
            await io.event(sid, "echo", number, ack_id=number)
        await io.wait(60, Ack)
        await io.settle()
        assert list(dict.fromkeys(seen)) == list(range(60))
        assert list(dict.fromkeys(numbers(io, Ack, sid))) == list(range(60))
        await stage.stop()


async def test_a_disconnect_that_did_not_reach_redis_is_done_again(memory_stage: Any, kill: Any) -> None:
    """The app-node dies while the command waits. Forgotten already, the client would stay connected and unheard."""
    stage = memory_stage
    io = await stage.io_node()

    def app() -> Any:
        sio = stage.server()

        @sio.event
        async def bye(sid: str) -> None:
            await sio.disconnect(sid)

        return sio

    first = app()
    await first.start()
    sid = await io.connect()
    stuck = asyncio.Event()

    async def flush(*_: Any) -> Any:
        stuck.set()
        await asyncio.Event().wait()

    first.node.downlink.outbox._appender.flush = flush
    await io.event(sid, "bye")
    await asyncio.wait_for(stuck.wait(), 5)
    for _ in range(20):  # time enough to forget the client
        await asyncio.sleep(0.005)
    assert await io.bus.records.load(sid) is not None
    await kill(first)
    await app().start()
    [command] = await io.wait(1, Disconnect)
    assert command.sid == sid
    await io.settle()
    assert await io.bus.records.load(sid) is None
