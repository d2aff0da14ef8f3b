"""An app-node that was paused wakes up when another has its lanes: nothing of what it had begun has an effect."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app_node.clients.session_codec import decode_session
from app_node.counters import DEFECT
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.messages import Ack, Emit, Join

pytestmark = pytest.mark.slow


class Pause:
    """From `begin` on nothing of this app-node reaches Redis until `wake`, and its heart stands still."""

    def __init__(self) -> None:
        self._gate = asyncio.Event()
        self.begun = asyncio.Event()

    def begin(self, node: Any) -> None:
        if self.begun.is_set():
            return
        self.begun.set()
        for name in ("renew", "watch", "plan", "heartbeat", "read"):
            node.loops._tasks[name].cancel()

        appender, records = node.bus.appender, node.bus.records
        appender.flush = self._late(appender.flush)
        for name in ("update", "forget", "load", "save_session"):
            setattr(records, name, self._late(getattr(records, name)))

    def wake(self) -> None:
        self._gate.set()

    def _late(self, operation: Any) -> Any:
        async def late(*args: Any) -> Any:
            await self._gate.wait()
            return await operation(*args)

        return late


def app(
    stage: Any,
    log: list[Any],
    name: str,
    meanwhile: Callable[[], None] = lambda: None,
    told_lost: asyncio.Event | None = None,
) -> Any:
    sio = stage.server()

    @sio.event
    async def work(sid: str, number: int) -> int:
        log.append((name, number, sio.is_redelivered()))
        meanwhile()
        await sio.emit("did", [name, number], to=sid)
        await sio.enter_room(sid, f"{name}-room")
        return number

    @sio.event
    async def keep(sid: str) -> str:
        meanwhile()
        try:
            await sio.save_session(sid, {"by": name})
        except LeaseLost:
            log.append((name, "lost"))
            if told_lost is not None:
                told_lost.set()
            raise
        return name

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        log.append((name, "disconnect"))
        meanwhile()

    return sio


async def test_what_a_paused_app_node_had_on_its_way_does_not_land(stage: Any) -> None:
    log: list[Any] = []
    pause = Pause()
    first = app(stage, log, "first", lambda: pause.begin(first.node))
    io = await stage.io_node()
    await first.start()
    sid = await io.connect()
    await io.settle()
    await io.event(sid, "work", 1, ack_id=1)
    await asyncio.wait_for(pause.begun.wait(), 5)
    news = asyncio.create_task(first.emit("news", to=sid))
    second = app(stage, log, "second")
    await second.start()
    [ack] = await io.wait(1, Ack)
    assert ack.packet == b"31[1]"
    await io.settle()
    pause.wake()
    await asyncio.wait_for(news, 5)
    await first.node.downlink.outbox.emptied()
    await first.node.downlink.writer.emptied()
    await io.wait(2, Emit)
    assert log == [("first", 1, False), ("second", 1, True)]
    assert [c.packet for c in io.commands if isinstance(c, Emit)] == [b'2["did",["second",1]]', b'2["news"]']
    assert [c.room for c in io.commands if isinstance(c, Join)] == ["second-room"]
    assert len([c for c in io.commands if isinstance(c, Ack)]) == 1
    assert (await io.bus.records.load(sid)).rooms == {"second-room"}
    counters = first.node.counters
    assert counters.appends_barred == second.node.counters.holders_barred == 1
    assert counters.commands_dropped["lane_lost"] == 3
    assert counters.records_fenced == 1
    assert first.node.downlink.outbox.emitted == counters.commands_written + 3


async def test_a_session_is_not_saved_by_one_that_lost_the_lane(stage: Any) -> None:
    log: list[Any] = []
    pause, told_lost = Pause(), asyncio.Event()
    first = app(stage, log, "first", lambda: pause.begin(first.node), told_lost)
    io = await stage.io_node()
    await first.start()
    sid = await io.connect()
    await io.event(sid, "keep", ack_id=1)
    await asyncio.wait_for(pause.begun.wait(), 5)
    second = app(stage, log, "second")
    await second.start()
    [ack] = await io.wait(1, Ack)
    pause.wake()
    await io.settle()
    await asyncio.wait_for(told_lost.wait(), 5)
    assert ("first", "lost") in log
    assert ack.packet == b'31["second"]'
    assert decode_session(await io.bus.records.load_session(sid)) == {"by": "second"}
    assert len([c for c in io.commands if isinstance(c, Ack)]) == 1


async def test_a_client_is_not_forgotten_by_one_that_lost_the_lane(stage: Any) -> None:
    """Its disconnect is handled by the next holder, which then forgets it."""
    log: list[Any] = []
    pause = Pause()
    first = app(stage, log, "first", lambda: pause.begin(first.node))
    io = await stage.io_node()
    await first.start()
    sid = await io.connect()
    await io.disconnect(sid)
    await asyncio.wait_for(pause.begun.wait(), 5)
    second = app(stage, log, "second")
    await second.start()
    await io.settle()
    pause.wake()
    await first.node.downlink.writer.emptied()
    assert log == [("first", "disconnect"), ("second", "disconnect")]
    assert await io.bus.records.load(sid) is None
    assert await io.bus.records.clients_of(io.id) == []


async def test_no_handler_begins_after_a_lane_was_lost(stage: Any) -> None:
    """Connects, events and disconnects of clients whose record is being fetched while the process is paused."""
    log: list[Any] = []
    pause = Pause()
    io = await stage.io_node()
    before = app(stage, [], "before")
    await before.start()
    sids = [await io.connect() for _ in range(8)]
    await before.shutdown()
    first = app(stage, log, "first")
    await first.start()
    pause.begin(first.node)
    node = first.node
    lanes = dict(node.keeper.held)
    for number, sid in enumerate(sids):
        await io.send(stage.event(sid, "work", number, ack_id=number))
    for entry in await node.uplink.readers.lanes.read(sorted(lanes), 0, 100):
        node.uplink.consumer.take(lanes[entry.lane], entry)
    second = app(stage, log, "second")
    await second.start()
    await io.wait(8, Ack)
    pause.wake()
    await io.settle()
    await asyncio.gather(*[task for lane in lanes.values() for task in lane.tasks])
    assert {name for name, *_ in log} == {"second"}
    assert len(log) == 8
    assert node.counters.outcomes[DEFECT] == 0
