"""Several app-nodes: sharing lanes, taking over, what is redelivered and to whom it is told."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.messages import Accept, Ack

pytestmark = pytest.mark.slow


async def test_two_app_nodes_share_the_lanes_and_a_stopped_one_gives_its_own_away(stage: Any) -> None:
    # long enough for a busy machine: after a lease that ran out, events come twice, as they should
    stage.config = stage.config.model_copy(update={"lease_ms": 8000, "node_timeout_ms": 9000, "shutdown_ms": 8000})
    log: list[Any] = []
    first, second = stage.echo_server(log), stage.echo_server(log)
    io = await stage.io_node()
    await first.start()
    sids = [await io.connect() for _ in range(12)]
    await second.start()
    everything = set(range(stage.config.lanes))

    def divided() -> bool:
        one, two = first.node.keeper, second.node.keeper
        return one.readable | two.readable == everything and len(one.readable) == len(two.readable) == 2

    await stage.until(divided)
    number = 0
    for step in range(6):
        await io.send(*[stage.event(sid, "echo", number + n, ack_id=number + n) for sid in sids for n in range(20)])
        number += 20
        if step == 2:
            stopping = asyncio.ensure_future(first.shutdown())
    await stopping
    acks = await io.wait(len(sids) * 120, Ack)
    await io.settle()
    await stage.until(lambda: second.node.keeper.readable == everything)
    for sid in sids:
        assert [n for s, n in log if s == sid] == list(range(120))
        assert [ack.packet for ack in acks if ack.sid == sid] == [b"3%d[%d]" % (n, n) for n in range(120)]
    assert len(acks) == len(sids) * 120


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
    first = stage.echo_server()
    await first.start()
    sid = await io.connect()
    await first.shutdown()
    waiting = await io.ask()
    for number in range(5):
        await io.event(sid, "echo", number, ack_id=number)
    second = stage.echo_server()
    await second.start()
    acks = await io.wait(5, Ack)
    assert [ack.packet for ack in acks] == [b"3%d[%d]" % (n, n) for n in range(5)]
    await io.wait(2, Accept)
    assert io.accepted() == [sid, waiting]


async def test_malformed_entries_are_set_aside(stage: Any) -> None:
    sio = stage.echo_server()
    io = await stage.io_node()
    await sio.start()
    for lane in range(stage.config.lanes):
        await io.send_raw(lane, b"\xc1 no batch")
    sid = await io.connect()
    await io.event(sid, "echo", 1, ack_id=1)
    await io.wait(1, Ack)
    await io.settle()
    assert sio.node.counters.dead_letters == stage.config.lanes
    assert sio.node.counters.dead_letters_lost == 0


async def test_dead_letters_that_are_one_too_many_are_counted(
    memory_stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sio_cluster.streams.memory.lanes.DEAD_LETTERS_KEPT", 3)
    sio = memory_stage.echo_server()
    io = await memory_stage.io_node()
    await sio.start()
    for _ in range(5):
        await io.send_raw(0, b"\xc1 no batch")
    await io.settle()
    assert sio.node.counters.dead_letters == 5
    assert sio.node.counters.dead_letters_lost == 2


async def test_a_server_object_does_not_hang_in_a_second_event_loop(memory_stage: Any) -> None:
    sio = memory_stage.server()

    def elsewhere() -> None:
        asyncio.run(sio.emit("x"))

    await sio.emit("x")
    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(elsewhere)
