"""Many at once: what waited while no app-node lived, and the clients of an io-node that died."""

import asyncio
import time
from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import RECOVERY_LEVEL, Accept, Ack
from sio_cluster.streams.redis import RedisBus

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(60)]

CLIENTS = 3_000


@pytest.fixture
async def redis_stage(redis_config: Config, make_stage: Any) -> Any:
    config = Config(REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, HEARTBEAT_MS=300)
    stage = make_stage(config, RedisBus, None)
    yield stage
    await stage.stop()


def app(stage: Any, gone: list[tuple[str, str]]) -> Any:
    sio = stage.server()

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        await sio.enter_room(sid, "all")

    @sio.event
    async def echo(sid: str, number: int) -> int:
        return number

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        gone.append((sid, reason))

    return sio


async def ask(io: Any, number: int) -> list[str]:
    """Clients that want to connect, in entries of a hundred."""
    facts = [io.connected() for _ in range(number)]
    for start in range(0, number, 100):
        await io.bus.records.store(facts[start : start + 100])
        await io.send(*facts[start : start + 100])
    return [fact.sid for fact in facts]


async def longest_pause(stop: asyncio.Event) -> float:
    """The longest turn of this event loop, in seconds."""
    longest, last = 0.0, time.monotonic()
    while not stop.is_set():
        await asyncio.sleep(0)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return longest


async def test_connects_and_events_that_waited_are_worked_off(redis_stage: Any) -> None:
    stage, io = redis_stage, await redis_stage.io_node()
    sids = await ask(io, CLIENTS)
    for number in range(5):
        for start in range(0, CLIENTS, 500):
            await io.send(*[stage.event(sid, "echo", number, ack_id=number) for sid in sids[start : start + 500]])
    sio = app(stage, [])
    over = asyncio.Event()
    watching = asyncio.create_task(longest_pause(over))
    await sio.start()
    late = await ask(io, 1)
    await io.send(stage.event(late[0], "echo", 7, ack_id=7))
    acks = await io.wait(5 * CLIENTS + 1, Ack, 50)
    over.set()
    assert await watching < 0.5  # the io-node of the test has its part in this loop
    assert len(await io.wait(CLIENTS + 1, Accept)) == CLIENTS + 1
    by_client: dict[str, list[bytes]] = {}
    for ack in acks:
        by_client.setdefault(ack.sid, []).append(ack.packet)
    assert {tuple(by_client[sid]) for sid in sids} == {tuple(b"3%d[%d]" % (n, n) for n in range(5))}
    assert sio.node.counters.lanes_lost == 0
    assert sio.node.counters.facts_read_again == 0


async def test_a_dead_io_nodes_clients_do_not_starve_the_living(redis_stage: Any) -> None:
    stage = redis_stage
    dead = await stage.io_node("io1", level=RECOVERY_LEVEL - 1)  # else its home is kept, parked
    io = await stage.io_node("io2")
    gone: list[tuple[str, str]] = []
    sio = app(stage, gone)
    await sio.start()
    sids = await ask(dead, CLIENTS)
    [alive] = await ask(io, 1)
    await dead.wait(CLIENTS, Accept, 30)
    await dead.settle()
    await dead.bus.registry.heartbeat(dead.id, 1)
    slowest = 0.0
    number = 0
    async with asyncio.timeout(40):
        while len(gone) < CLIENTS:
            begun = time.monotonic()
            await io.event(alive, "echo", number, ack_id=number)
            number += 1
            await io.wait(number, Ack)
            slowest = max(slowest, time.monotonic() - begun)
    await io.settle()
    assert sorted(gone) == sorted((sid, "node lost") for sid in sids)
    assert slowest < 0.5
    assert await io.bus.records.clients_of(dead.id) == []
    assert await io.bus.records.load(sids[-1]) is None
    assert await io.bus.registry.registered_io_nodes() == [io.id]
    assert sio.node.counters.reaper_facts_written == CLIENTS
