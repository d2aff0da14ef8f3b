"""200 clients are asked, of whom 50 answer, 50 raise, 50 vanish and 50 die with their io-node. In virtual time, so it
can be said to the moment who is waited for, and with everything in any order and again."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from app_node.interface.server import ClusterServer
from sio_cluster.protocol.messages import AckExpected, AckMissed, AckReceived, Emit
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.configs import config_of
from sio_cluster.testing.simulation import SteppedLoop, VirtualClock

from ..conftest import FakeIoNode, memory_bus

pytestmark = pytest.mark.slow

SETTINGS = {
    "lanes": 4,
    "heartbeat_ms": 250,
    "node_timeout_ms": 2500,
    "lease_ms": 2500,
    "shutdown_ms": 1500,
    "handler_block_ms": 0,  # it measures real time
}
TIMEOUT_S = 60.0
KNOWN_DEAD_S = 2.5 + 4 * 0.25 + 0.5
"""Its last heartbeat counts no more, it has looked dead three times, and some time for Redis."""
KINDS = ("answer", "raise", "vanish", "killed")
OF_A_KIND = 50
SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.ci_only) for seed in (2, 3, 4))]
"""Each tries another order, for a second."""


class World:
    """Four io-nodes, of which the last one dies, and three app-nodes."""

    def __init__(self, seed: int) -> None:
        self.clock = VirtualClock()
        self.loop = SteppedLoop(self.clock)
        self.random = random.Random(seed)
        self.config = config_of(**SETTINGS)
        self.make_bus = memory_bus(MemoryBroker(self.clock))
        self.kinds: dict[str, str] = {}  # by sid

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs this to its end, by the virtual clock."""
        task = self.loop.loop.create_task(work)
        while not task.done():
            self.loop.turn()
            if not task.done():
                assert self.loop.due_at is not None
                self.clock.now = max(self.clock.now, self.loop.due_at)
        self.loop.close()
        task.result()

    def server(self) -> ClusterServer:
        sio = ClusterServer(self.config, make_bus=self.make_bus, clock=self.loop.time)

        @sio.event
        async def connect(sid: str, environ: Any, auth: Any) -> None:
            for room in auth:
                await sio.enter_room(sid, room)

        return sio

    async def io_node(self, name: str) -> FakeIoNode:
        io = FakeIoNode(self.config, self.make_bus, name)
        await io.start()
        await io.bus.registry.register_io_node(io.id, {"level": "3"})
        return io

    async def client(self, io: FakeIoNode, kind: str) -> None:
        sid = await io.connect(auth=["all"] if kind == "vanish" else ["all", "outspoken"])
        self.kinds[sid] = kind

    async def carry_out(self, io: FakeIoNode, emit: Emit, *, dies: bool) -> None:
        """What an io-node and its clients say to a question, in any order that may be, some of it again."""
        assert emit.ack is not None
        assert emit.to is not None
        app_node, ack_id = emit.ack.app_node, emit.ack.ack_id
        sids = [sid for sid in self.kinds if sid.startswith(io.id)]
        if emit.to == ["outspoken"]:
            sids = [sid for sid in sids if self.kinds[sid] != "vanish"]
        items: list[Any] = []
        parts = self.random.randrange(1, 4)
        for part in range(parts):
            items.append(AckExpected(io.id, ack_id, sids[part::parts], part=part, parts=parts))
        if not dies:
            items += [AckReceived(sid, ack_id, b'["%b"]' % sid.encode()) for sid in sids if self.kinds[sid] == "answer"]
            items += [AckMissed(sid, ack_id) for sid in sids if self.kinds[sid] == "raise"]
        items += self.random.sample(items, len(items) // 4)
        self.random.shuffle(items)
        while items:
            entry, items = items[:7], items[7:]
            await io.to_app_node(app_node, *entry)
            await asyncio.sleep(self.random.uniform(0, 0.01))


@pytest.mark.parametrize("has_asked", [True, False], ids=["dies when it has asked", "dies before it has asked"])
@pytest.mark.parametrize("seed", SEEDS)
def test_each_is_named_and_only_the_silent_are_waited_for(seed: int, *, has_asked: bool) -> None:
    world = World(seed)
    world.run(each_is_named(world, has_asked=has_asked))


async def each_is_named(world: World, *, has_asked: bool) -> None:
    servers = [world.server() for _ in range(3)]
    nodes = [await world.io_node(f"io{number}") for number in range(1, 5)]
    for sio in servers:
        await sio.start()
    for number in range(3 * OF_A_KIND):
        await world.client(nodes[number // OF_A_KIND], KINDS[number % 3])
    for _ in range(OF_A_KIND):
        await world.client(nodes[3], "killed")

    program = ClusterServer(world.config, make_bus=world.make_bus, clock=world.loop.time)
    began = world.clock.now
    questions = {
        room: asyncio.ensure_future(timed(world, program.call_many("vote", room=room, timeout=TIMEOUT_S)))
        for room in ("outspoken", "all")
    }
    for io in nodes:
        for emit in await io.wait(2, Emit):
            if io is not nodes[3] or has_asked:
                await world.carry_out(io, emit, dies=io is nodes[3])
    died_at = world.clock.now
    await nodes[3].bus.registry.heartbeat(nodes[3].id, SETTINGS["node_timeout_ms"])  # its last one

    answers, at = await questions["outspoken"]
    assert at - died_at <= KNOWN_DEAD_S
    expected = {sid: sid for sid, kind in world.kinds.items() if kind == "answer"}
    reasons = {"raise": "disconnected", "vanish": "timeout", "killed": "node lost"}
    missing = {sid: reasons[kind] for sid, kind in world.kinds.items() if kind in reasons}
    assert dict(answers) == expected
    assert Counter(answers.missing.values()) == {"disconnected": OF_A_KIND, "node lost": OF_A_KIND}
    assert answers.missing == {sid: why for sid, why in missing.items() if why != "timeout"}

    answers, at = await questions["all"]
    assert TIMEOUT_S <= at - began <= TIMEOUT_S + 1
    assert dict(answers) == expected
    assert answers.missing == missing

    for sio in (*servers, program):
        await sio.shutdown()
    for io in nodes:
        await io.stop()


async def timed(world: World, work: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
    return await work, world.clock.now
