"""The counters of promise 7: they balance, whatever happened, and `/metrics` shows them."""

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sio_cluster.protocol.messages import Accept, AckReceived, ClientUpgraded, EventReceived

pytestmark = pytest.mark.slow


def values(node: Any) -> dict[str, float]:
    """Sums by name, and single samples by name and label value."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(node.metrics().decode()):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
            for value in sample.labels.values():
                found[f"{sample.name}:{value}"] = sample.value
    return found


def assert_balanced(node: Any) -> dict[str, float]:
    now = values(node)
    ends = ("handled_total", "refused_total", "abandoned_total", "in_work")
    assert now["sio_app_facts_read_total"] == sum(now.get(f"sio_app_facts_{end}", 0) for end in ends)
    fates = ("written_total", "dropped_total", "waiting")
    assert now["sio_app_commands_emitted_total"] == sum(now.get(f"sio_app_commands_{fate}", 0) for fate in fates)
    return now


def mixed_app(stage: Any, hang: asyncio.Event, **options: Any) -> Any:
    sio = stage.server(**options)

    @sio.event
    async def echo(sid: str, number: int) -> int:
        await sio.emit("heard", number)
        return number

    @sio.event
    async def fail(sid: str) -> None:
        raise ZeroDivisionError

    @sio.event
    async def wait(sid: str) -> None:
        hang.set()
        await asyncio.Event().wait()

    return sio


@pytest.mark.parametrize("async_handlers", [True, False])
async def test_mixed_traffic(stage: Any, async_handlers: bool) -> None:
    sio = mixed_app(stage, asyncio.Event(), async_handlers=async_handlers)
    io, other = await stage.io_node("io1"), await stage.io_node("io2")
    await sio.start()
    sids = [await io.connect() for _ in range(10)]
    gone = io.connected().sid
    for number in range(20):
        await io.send(*[stage.event(sid, "echo", number, ack_id=number) for sid in sids])
        assert_balanced(sio.node)
    await io.event(sids[0], "fail")
    await io.event(sids[0], "nobody handles this")
    await io.event(sids[0], "connect")
    await io.send(
        EventReceived(sids[1], None, b'[{"no":"name"}'),
        EventReceived("no sid", None, b'["echo",1]'),
        EventReceived(gone, None, b'["echo",1]'),
        AckReceived(sids[1], 1, b"[]"),
        ClientUpgraded(sids[1], "websocket"),
    )
    await io.send_raw(0, b"\xc1 no batch")
    await io.answer(sio.node.id, 77, sids[0], "late")
    await io.disconnect(sids[2])
    await io.disconnect(sids[2])
    await io.settle()
    await sio.emit("to all")
    await sio.node.downlink.outbox.emptied()
    now = assert_balanced(sio.node)
    assert now["sio_app_facts_read_total:0"] == 10 + 200 + 3 + 5 + 2
    assert now.get("sio_app_facts_read_total:1", 0) == now["sio_app_facts_in_work"] == 0
    assert now["sio_app_facts_handled_total:event"] == 201
    assert now["sio_app_facts_handled_total:unhandled_event"] == 1
    assert now["sio_app_facts_handled_total:connected"] == 10
    assert now["sio_app_facts_handled_total:disconnected"] == 2
    assert now["sio_app_facts_handled_total:upgraded"] == 1
    reasons = ("reserved_event", "malformed_event", "foreign_sid", "unknown_client", "misplaced_ack")
    assert {reason: now[f"sio_app_facts_refused_total:{reason}"] for reason in reasons} == dict.fromkeys(reasons, 1)
    assert now["sio_app_handlers_failed_total"] == now["sio_app_dead_letters_total"] == 1
    assert now["sio_app_acks_refused_total:unknown"] == 1
    assert now["sio_app_commands_waiting"] == 0
    await asyncio.gather(settled(io, now), settled(other, now))
    assert now["sio_app_commands_written_total"] == len(io.commands) + len(other.commands)


async def settled(io: Any, now: dict[str, float]) -> None:
    """Until the io-node has read the last command, which is the same for all."""
    async with asyncio.timeout(5):
        while not io.commands or getattr(io.commands[-1], "packet", b"") != b'2["to all"]':
            await asyncio.sleep(0.01)


async def test_a_clean_stop_with_a_handler_that_hangs(stage: Any) -> None:
    hanging = asyncio.Event()
    sio = mixed_app(stage, hanging)
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.send(stage.event(sid, "echo", 1), stage.event(sid, "wait"), stage.event(sid, "echo", 2))
    await asyncio.wait_for(hanging.wait(), 5)
    node = sio.node
    await sio.shutdown()
    now = assert_balanced(node)
    assert now["sio_app_facts_abandoned_total:lane_lost"] == 1
    assert now["sio_app_facts_in_work"] == now["sio_app_commands_waiting"] == 0


async def test_a_lost_lane(memory_stage: Any) -> None:
    stage = memory_stage
    hanging = asyncio.Event()
    sio = mixed_app(stage, hanging)
    io = await stage.io_node()
    await sio.start()
    node = sio.node
    sid = await io.connect()
    await io.send(stage.event(sid, "wait"), stage.event(sid, "echo", 1, ack_id=1))
    await asyncio.wait_for(hanging.wait(), 5)
    [lane] = [lane for lane in node.keeper.held.values() if lane.in_work]
    node.keeper.lose(lane)
    now = assert_balanced(node)
    assert now["sio_app_lanes_lost_total"] == 1
    assert now["sio_app_facts_abandoned_total:lane_lost"] >= 1
    async with asyncio.timeout(5):  # it takes the lane again, and is given the same facts
        while not values(node).get("sio_app_facts_read_total:1"):
            await asyncio.sleep(0.01)
    assert_balanced(node)
    assert io.accepted() == [sid]
    await io.wait(1, Accept)
