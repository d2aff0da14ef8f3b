"""What comes into quarantine, and what runs beside it."""

import asyncio
from typing import Any

import pytest

from app_node.uplink import alone
from sio_cluster.protocol.ids import lane_of

from .supervised import WHY, Supervised, answers, letters, quiet

pytestmark = pytest.mark.slow


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
    await stage.until(lambda: pair.deaths == 2 or pair.totals("facts_quarantined") > 1, 20)
    await io.event(slow, "echo", 2, ack_id=2)
    await stage.until(lambda: {b"31[]", b"32[2]"} <= {*answers(io, slow), *answers(io, bad)}, 20)
    await quiet(io, stage)
    assert (answers(io, slow), answers(io, bad)) == ([b"31[]", b"32[2]"], [b"31[]"])
    assert pair.died(3)
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


async def test_an_only_app_node_serves_others_before_each_suspect(stage: Any, kill: Any) -> None:
    """Else a client with many such events stopped the cluster for as many deaths."""
    cluster = Supervised(stage, kill, 1)
    io = await stage.io_node()
    await cluster.start()
    bad, other = await io.connect(), await io.connect()
    await io.send(*[stage.event(bad, "poison", ack_id=number) for number in range(3)])
    await stage.until(lambda: cluster.totals("facts_quarantined") > 0)
    answered = 0
    while len(answers(io, bad)) < 3:
        await io.event(other, "echo", answered, ack_id=answered)
        answered += 1
        await stage.until(lambda: len(answers(io, other)) >= answered)  # noqa: B023
    await cluster.stop()
    await quiet(io, stage)
    served = "".join(what[0] for what in cluster.order).split("d")[2:]  # between deaths
    assert cluster.died(5)
    assert len(served) == cluster.deaths - 1
    assert all(served)


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
