"""Dead letters of handlers that ended their process, put back into their lane."""

import pytest

from app_node.counters import STALE_CONNECT
from sio_cluster.protocol.messages import Ack, Refuse

from .supervised import Supervised, answers, letters, quiet, requeue_all

pytestmark = pytest.mark.slow


async def test_an_event_that_is_put_back_gets_another_chance(mendable: Supervised) -> None:
    stage = mendable.stage
    io = await stage.io_node()
    await mendable.start()
    sid = await io.connect()
    await io.event(sid, "poison", ack_id=1)
    await io.wait(1, Ack, timeout_s=20)
    await quiet(io, stage)
    await requeue_all(stage)
    deaths = mendable.deaths
    await stage.until(lambda: mendable.deaths > deaths, 20)  # it counts from the beginning
    mendable.mended = True
    await io.wait(2, Ack, timeout_s=20)
    await quiet(io, stage)
    assert answers(io, sid) == [b"31[]", b'31["mended"]']
    assert mendable.seen[sid][-1] == "redelivered poison"
    assert await letters(stage) == []


async def test_a_disconnect_that_is_put_back_runs_nothing(mendable: Supervised) -> None:
    """Its client's record went with it, so nobody knows whose handler it was."""
    stage = mendable.stage
    io = await stage.io_node()
    await mendable.start()
    sid = await io.connect()
    await io.disconnect(sid, "deadly")
    await stage.until(lambda: mendable.totals("dead_letters") == 1, 20)
    await quiet(io, stage)
    await requeue_all(stage)
    await quiet(io, stage)
    assert mendable.died(3)
    assert mendable.seen[sid].count("disconnect") == mendable.deaths
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
