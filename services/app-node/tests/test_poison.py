"""Handlers that end their process: they end it three times at most, and harm nobody but the client that sent them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app_node.counters import STALE_CONNECT
from app_node.uplink import alone
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import Ack, Disconnect, Refuse
from sio_cluster.streams.memory import MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.dead_letters import DeadLetters

pytestmark = pytest.mark.slow

FAST = {"heartbeat_ms": 100, "lease_ms": 600, "node_timeout_ms": 1000, "shutdown_ms": 1500, "lanes": 4}
WHY = "begun 3 times and never finished"


class Supervised:
    """App-nodes that run the same handlers. One whose handler calls `die` ends there, and another one is started."""

    def __init__(self, stage: Any, kill: Any, number: int) -> None:
        self.stage = stage
        self.deaths = 0
        self.mended = False  # then nobody dies any more
        self.seen: dict[str, list[Any]] = defaultdict(list)  # by sid: what its handlers were called with
        self.order: list[str] = []
        self.servers: list[Any] = []
        self._kill = kill
        self._number = number
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for _ in range(self._number):
            await self._start_one()

    async def stop(self) -> None:
        for task in list(self._tasks):
            await task

    async def die(self, server: Any) -> None:
        if self.mended:
            return
        self.deaths += 1
        self.servers.remove(server)
        task = asyncio.create_task(self._replace(server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.Event().wait()

    async def _replace(self, server: Any) -> None:
        await self._kill(server)
        await self._start_one()

    async def _start_one(self) -> None:
        server = self.stage.server()
        self._register(server)
        self.servers.append(server)
        await server.start()

    def _register(self, server: Any) -> None:
        @server.event
        async def connect(sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
            self.seen[sid].append("again" if is_reconnect else "connect")
            if auth == ("restore" if is_reconnect else "connect"):
                await self.die(server)

        @server.event
        async def echo(sid: str, number: int, is_redelivered: bool) -> int:
            self.seen[sid].append(number)
            self.order.append("echo")
            return number

        @server.event
        async def poison(sid: str, is_redelivered: bool) -> str:
            self.seen[sid].append("redelivered poison" if is_redelivered else "poison")
            await self.die(server)
            return "mended"

        @server.event
        async def late(sid: str) -> None:
            """Finds itself in two processes that die. Then it takes a while, and ends."""
            if self.deaths < 2:
                await asyncio.Event().wait()
            self.order.append("late begins")
            await asyncio.sleep(0.3)
            self.order.append("late ends")

        @server.event
        async def hang(sid: str) -> None:
            self.seen[sid].append("hang")
            await asyncio.Event().wait()

        @server.event
        async def disconnect(sid: str, reason: str) -> None:
            self.seen[sid].append("disconnect")
            if "deadly" in reason:
                await self.die(server)

    def totals(self, name: str) -> int:
        """The sum of a count over the app-nodes that live."""
        return sum(getattr(server.node.counters, name) for server in self.servers)


@pytest.fixture(params=[1, 2, 3])
async def cluster(request: pytest.FixtureRequest, stage: Any, kill: Any) -> AsyncIterator[Supervised]:
    cluster = Supervised(stage, kill, request.param)
    yield cluster
    await cluster.stop()


@pytest.fixture
async def pair(stage: Any, kill: Any) -> AsyncIterator[Supervised]:
    cluster = Supervised(stage, kill, 2)
    yield cluster
    await cluster.stop()


async def letters(stage: Any) -> list[str]:
    """Why the dead letters are what they are."""
    if stage.broker is not None:
        return [why for dead in stage.broker.dead.values() for _, why in dead]
    bus = RedisBus(stage.config)
    found = await DeadLetters(bus.connections, bus.keys).newest(range(stage.config.lanes), 10)
    await bus.stop()
    return [letter.why for letter in found]


async def quiet(io: Any, stage: Any) -> None:
    """Until lanes and quarantines are empty, and all app-nodes know it."""
    await io.settle()
    bus, lanes = io.bus, range(stage.config.lanes)
    keys = [bus.keys.uplink(~lane) for lane in lanes]
    async with asyncio.timeout(8):
        while True:
            if isinstance(bus, MemoryBus):
                held = sum(len(bus.broker.streams[key].entries) for key in keys)
            else:
                held = sum(await bus.connections.run(*[("XLEN", key) for key in keys]))
            infos = await bus.registry.app_nodes()
            if not held and not any(info.get("quarantined") for info in infos.values()):
                return
            await asyncio.sleep(0.02)


def answers(io: Any, sid: str) -> list[bytes]:
    return [command.packet for command in io.commands if isinstance(command, Ack) and command.sid == sid]


async def test_an_event_that_ends_its_process_ends_it_three_times_at_most(cluster: Supervised, stage: Any) -> None:
    io = await stage.io_node()
    await cluster.start()
    bad = await io.connect()
    others = [await io.connect() for _ in range(8)]  # over all lanes
    mate = others[0]
    await io.event(bad, "echo", 1, ack_id=1)
    await io.send(
        stage.event(mate, "echo", 0), stage.event(bad, "poison", ack_id=2), stage.event(bad, "echo", 3, ack_id=3)
    )
    await io.event(bad, "echo", 4, ack_id=4)
    for number in range(1, 4):
        for sid in others:
            await io.event(sid, "echo", number, ack_id=number)
    await io.wait(3 * len(others) + 4, Ack, timeout_s=20)
    await quiet(io, stage)
    assert cluster.deaths == 3
    assert answers(io, bad)[-3:] == [b"32[]", b"33[3]", b"34[4]"]
    runs = [what for what in cluster.seen[bad] if what not in ("connect", "again")]
    assert runs.count("poison") == 1
    assert runs.count("redelivered poison") == 2
    assert runs[-2:] == [3, 4]
    for sid in others:
        firsts = list(dict.fromkeys(what for what in cluster.seen[sid] if isinstance(what, int)))
        assert firsts == sorted(firsts)
        assert firsts[-3:] == [1, 2, 3]
    [why] = await letters(stage)
    assert why.startswith(WHY)
    assert cluster.totals("dead_letters") == 1
    for server in cluster.servers:
        counters, consumer = server.node.counters, server.node.uplink.consumer
        read = counters.facts_read + counters.facts_read_again
        assert read == sum(counters.outcomes.values()) + consumer.facts_in_work


async def test_a_connect_that_ends_its_process_is_refused(cluster: Supervised, stage: Any) -> None:
    io = await stage.io_node()
    await cluster.start()
    bad = await io.ask(auth="connect")
    other = await io.ask()
    [refusal] = await io.wait(1, Refuse, timeout_s=20)
    await quiet(io, stage)
    assert (refusal.sid, refusal.data) == (bad, b'{"message":"Internal server error"}')
    assert (cluster.deaths, cluster.seen[bad]) == (3, ["connect"] * 3)
    assert io.accepted().count(other) >= 1
    assert await io.bus.records.load(bad) is None
    assert len(await letters(stage)) == 1


async def test_a_disconnect_that_ends_its_process_is_told_elsewhere_and_then_forgotten(
    cluster: Supervised, stage: Any
) -> None:
    io = await stage.io_node()
    await cluster.start()
    bad = await io.connect()
    await io.disconnect(bad, "deadly")
    await stage.until(lambda: cluster.deaths == 3, 20)
    await quiet(io, stage)
    assert cluster.deaths == 3
    assert cluster.seen[bad].count("disconnect") == 3
    assert await io.bus.records.load(bad) is None
    assert len(await letters(stage)) == 1


async def test_a_restore_that_ends_its_process_disconnects_the_client(pair: Supervised, stage: Any) -> None:
    """Else each further event of the client would end three more."""
    io = await stage.io_node()
    await pair.start()
    bad = await io.connect(auth="restore")
    for server in list(pair.servers):
        await server.shutdown()
        pair.servers.remove(server)
        await pair._start_one()
    await io.event(bad, "echo", 1, ack_id=1)
    await io.event(bad, "echo", 2, ack_id=2)
    [command] = await io.wait(1, Disconnect, timeout_s=20)
    await quiet(io, stage)
    assert command.sid == bad
    assert (pair.deaths, answers(io, bad)) == (3, [])
    assert pair.seen[bad] == ["connect", "again", "again", "again"]
    assert await io.bus.records.load(bad) is None


async def test_an_event_of_a_client_with_a_sound_restore_is_no_reason_to_disconnect_it(
    pair: Supervised, stage: Any
) -> None:
    io = await stage.io_node()
    await pair.start()
    bad = await io.connect()
    await io.event(bad, "poison", ack_id=1)
    await io.event(bad, "echo", 2, ack_id=2)
    await io.wait(2, Ack, timeout_s=20)
    await quiet(io, stage)
    record = await io.bus.records.load(bad)
    assert record is not None
    assert not record.restoring
    assert not [command for command in io.commands if isinstance(command, Disconnect)]


async def test_two_clients_with_such_events_end_six_processes_at_most(cluster: Supervised, stage: Any) -> None:
    io = await stage.io_node()
    await cluster.start()
    bad = [await io.connect() for _ in range(2)]
    other = await io.connect()
    for sid in bad:
        await io.event(sid, "poison", ack_id=1)
    for sid in (*bad, other):
        await io.event(sid, "echo", 2, ack_id=2)
    await io.wait(5, Ack, timeout_s=30)
    await quiet(io, stage)
    assert cluster.deaths <= 6
    assert [answers(io, sid)[-1] for sid in (*bad, other)] == [b"32[2]"] * 3
    assert len(await letters(stage)) == 2


async def test_a_handler_that_does_not_end_in_quarantine_is_stopped(
    pair: Supervised, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had the bad luck to be at work in two processes that died. Its client's other events wait for it."""
    monkeypatch.setattr(alone, "PATIENCE_S", 0.5)
    io = await stage.io_node()
    await pair.start()
    slow, bad = await io.connect(), await io.connect()
    while lane_of(slow, 4) != lane_of(bad, 4):
        bad = await io.connect()
    await io.event(slow, "hang", ack_id=1)
    await io.event(bad, "poison", ack_id=1)
    await io.event(slow, "echo", 2, ack_id=2)
    await stage.until(lambda: {b"31[]", b"32[2]"} <= {*answers(io, slow), *answers(io, bad)}, 20)
    await quiet(io, stage)
    assert (answers(io, slow)[-2:], answers(io, bad)) == ([b"31[]", b"32[2]"], [b"31[]"])
    assert pair.deaths == 3
    assert len(await letters(stage)) == 2


async def test_an_only_app_node_begins_nothing_else_beside_a_suspect(stage: Any, kill: Any) -> None:
    """Else the end of its process would look like another one's work."""
    cluster = Supervised(stage, kill, 1)
    io = await stage.io_node()
    await cluster.start()
    late, bad = await io.connect(), await io.connect()
    while lane_of(late, 4) != lane_of(bad, 4):
        bad = await io.connect()
    others = [await io.connect() for _ in range(4)]
    await io.send(stage.event(late, "late", ack_id=1), stage.event(bad, "poison", ack_id=1))
    while not answers(io, late):
        for sid in others:
            await io.event(sid, "echo", 1)
        await asyncio.sleep(0.01)
    await cluster.stop()
    begin, end = cluster.order.index("late begins"), cluster.order.index("late ends")
    assert cluster.order[begin + 1 : end] == []
    await quiet(io, stage)
    assert "echo" in cluster.order[end + 1 :]
    assert [why for why in await letters(stage) if not why.startswith(WHY)] == []


async def test_planned_stops_quarantine_nothing(pair: Supervised, stage: Any) -> None:
    """A handler that is still at work when its process stops is no suspect."""
    io = await stage.io_node()
    await pair.start()
    sid = await io.connect()
    await io.event(sid, "hang")
    for _ in range(3):
        await stage.until(lambda: "hang" in pair.seen[sid])
        pair.seen[sid].clear()
        for server in list(pair.servers):
            await pair._start_one()
            await server.shutdown()
            pair.servers.remove(server)
    assert pair.totals("facts_quarantined") == 0
    assert await letters(stage) == []


@pytest.fixture
async def mendable(redis_config: Config, make_stage: Any, kill: Any) -> AsyncIterator[Supervised]:
    """Two app-nodes over Valkey, whose dead letters `sio-cluster` puts back."""
    config = Config(REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, **FAST)
    stage = make_stage(config, RedisBus, None)
    cluster = Supervised(stage, kill, 2)
    yield cluster
    await cluster.stop()
    await stage.stop()


async def requeue_all(stage: Any) -> None:
    bus = RedisBus(stage.config)
    dead = DeadLetters(bus.connections, bus.keys)
    for letter in await dead.newest(range(stage.config.lanes), 10):
        assert await dead.requeue(letter)
    await bus.stop()


async def test_an_event_that_is_put_back_gets_another_chance(mendable: Supervised) -> None:
    stage = mendable.stage
    io = await stage.io_node()
    await mendable.start()
    sid = await io.connect()
    await io.event(sid, "poison", ack_id=1)
    await io.wait(1, Ack, timeout_s=20)
    await quiet(io, stage)
    await requeue_all(stage)
    await stage.until(lambda: mendable.deaths == 4, 20)  # it counts from the beginning
    mendable.mended = True
    await io.wait(2, Ack, timeout_s=20)
    await quiet(io, stage)
    assert answers(io, sid) == [b"31[]", b'31["mended"]']
    assert mendable.seen[sid][-1] == "redelivered poison"
    assert await letters(stage) == []


async def test_a_connect_that_is_put_back_lets_nobody_in(mendable: Supervised) -> None:
    """Its client was refused, and is gone."""
    stage = mendable.stage
    io = await stage.io_node()
    await mendable.start()
    sid = await io.ask(auth="connect")
    await io.wait(1, Refuse, timeout_s=20)
    await quiet(io, stage)
    mendable.mended = True
    runs = len(mendable.seen[sid])
    await requeue_all(stage)
    await quiet(io, stage)
    assert (len(mendable.seen[sid]), io.accepted()) == (runs, [])
    assert sum(server.node.counters.outcomes[STALE_CONNECT] for server in mendable.servers) == 1
