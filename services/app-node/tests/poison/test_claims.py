"""Clients that claim their session back, and end a process each time."""

from typing import Any

import pytest

from sio_cluster.protocol.messages import Refuse

from ..recovery.returning import Returning
from .supervised import Supervised, letters, quiet

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("half_open", [False, True])
async def test_a_connect_that_ends_its_process_is_refused(pair: Supervised, stage: Any, half_open: bool) -> None:
    """The session is over. That the former connection is over is told once, before the first death."""
    io = await stage.io_node()
    client = Returning(io)
    await pair.start()
    await client.come()
    await io.settle()
    if not half_open:
        await client.lose()
    await io.send(await client.claim(auth="connect"))
    [refusal] = await io.wait(1, Refuse, timeout_s=20)
    await quiet(io, stage)
    assert (refusal.sid, refusal.generation) == (client.sid, 1)
    seen = [what for what in pair.seen[client.sid] if what != "again"]
    assert seen == ["connect", "disconnect", *["connect"] * pair.deaths]
    assert pair.died(3)
    assert not await client.claimable()
    assert len(await letters(stage)) == 1


async def test_a_disconnect_that_ends_its_process_does_not_keep_the_client_from_coming_back(
    pair: Supervised, stage: Any
) -> None:
    io = await stage.io_node()
    client = Returning(io)
    await pair.start()
    await client.come()
    await io.send(client.gone("deadly"))
    await stage.until(lambda: pair.totals("dead_letters") == 1, 20)
    await quiet(io, stage)
    await client.come_back()
    await io.settle()
    seen = [what for what in pair.seen[client.sid] if what != "again"]
    assert pair.died(3)
    assert seen == ["connect", *["disconnect"] * pair.deaths, "connect"]


async def test_a_claim_waits_for_an_event_of_its_client_in_quarantine(pair: Supervised, stage: Any) -> None:
    io = await stage.io_node()
    client = Returning(io)
    await pair.start()
    await client.come()
    await io.event(client.sid, "poison", ack_id=1)
    await stage.until(lambda: pair.deaths == 2 or pair.totals("dead_letters") == 1, 20)
    await io.send(client.gone())
    await io.send(await client.claim())
    await client.let_in()
    await quiet(io, stage)
    assert pair.died(3)
    seen = [what.removeprefix("redelivered ") for what in pair.seen[client.sid] if what != "again"]
    assert seen == ["connect", *["poison"] * pair.deaths, "disconnect", "connect"]
