"""Handlers that block an app-node until it has lost its lanes, and let it live on: it takes them again itself."""

import time
from typing import Any

import pytest

from sio_cluster.protocol.messages import Ack

from .supervised import FAST, WHY, answers, letters, quiet

pytestmark = pytest.mark.slow

BLOCK_S = 0.97 * FAST["lease_ms"] / 1000
"""Not long enough for the process to end itself."""


async def test_an_event_that_blocks_for_almost_a_lease_is_begun_three_times_at_most(stage: Any) -> None:
    """Else it came back without end, and nobody was served."""
    io = await stage.io_node()
    server, runs = stage.server(), 0

    @server.event
    async def connect(sid: str, environ: Any) -> None: ...

    @server.event
    async def echo(sid: str, number: int) -> int:
        return number

    @server.event
    def block(sid: str) -> None:
        nonlocal runs
        runs += 1
        time.sleep(BLOCK_S)

    await server.start()
    bad, *others = [await io.connect() for _ in range(4)]
    await io.event(bad, "block", ack_id=1)
    for sid in (bad, *others):
        await io.event(sid, "echo", 2, ack_id=2)
    await io.wait(5, Ack, timeout_s=20)
    await quiet(io, stage)
    assert runs == 3
    assert answers(io, bad) == [b"31[]", b"32[2]"]
    assert [answers(io, sid) for sid in others] == [[b"32[2]"]] * 3
    [why] = await letters(stage)
    assert why.startswith(WHY)
