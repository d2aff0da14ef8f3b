"""Handlers that end their process: they end it three times at most, and harm nobody but the client that sent them."""

from typing import Any

import pytest

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import Ack, Disconnect, Refuse

from .supervised import WHY, Supervised, answers, letters, quiet

pytestmark = pytest.mark.slow


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
    assert cluster.died(3)
    assert sorted(answers(io, bad)) == [b"31[1]", b"32[]", b"33[3]", b"34[4]"]
    runs = [what for what in cluster.seen[bad] if what not in ("connect", "again")]
    assert [what for what in runs if isinstance(what, str)][1:] == ["redelivered poison"] * (cluster.deaths - 1)
    assert list(dict.fromkeys(what for what in runs if isinstance(what, int))) == [1, 3, 4]
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
    assert cluster.died(3)
    assert cluster.seen[bad] == ["connect"] * cluster.deaths
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
    await stage.until(lambda: cluster.totals("dead_letters") == 1, 20)
    await quiet(io, stage)
    assert cluster.died(3)
    assert cluster.seen[bad].count("disconnect") == cluster.deaths
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
    assert pair.died(3)
    assert answers(io, bad) == []
    assert pair.seen[bad] == ["connect", *["again"] * pair.deaths]
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


async def test_two_lanes_with_such_events_end_six_processes_at_most(cluster: Supervised, stage: Any) -> None:
    io = await stage.io_node()
    await cluster.start()
    bad = [await io.connect() for _ in range(2)]
    while lane_of(bad[0], 4) == lane_of(bad[1], 4):
        bad[1] = await io.connect()
    other = await io.connect()
    for sid in bad:
        await io.event(sid, "poison", ack_id=1)
    for sid in (*bad, other):
        await io.event(sid, "echo", 2, ack_id=2)
    await io.wait(5, Ack, timeout_s=30)
    await quiet(io, stage)
    assert cluster.deaths <= 6
    for sid in bad:  # the second event may begin before the first one ends the process, and be answered then
        assert set(answers(io, sid)) == {b"31[]", b"32[2]"}
    assert set(answers(io, other)) == {b"32[2]"}
    assert len(await letters(stage)) == 2
