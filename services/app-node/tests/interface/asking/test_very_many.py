"""A question to 20,000 clients, whose answers come all at once: others have their turn meanwhile."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.messages import AckExpected, AckReceived
from sio_cluster.testing.turns import turns

from .questions import LONG_S, asked, say

pytestmark = [pytest.mark.slow, pytest.mark.alone]

CLIENTS, PART = 20_000, 1_000
STALL_S = 0.05


async def ask(world: Any, number: int, *, one_by_one: bool) -> dict[str, Any]:
    async def call_many() -> dict[str, Any]:
        return dict(await world.app.call_many("vote", timeout=LONG_S))

    async def answers() -> dict[str, Any]:
        return {sid: answer async for sid, answer in world.app.answers("vote", timeout=LONG_S)}

    asking = asyncio.create_task(answers() if one_by_one else call_many())
    ack = await asked(world.one, world.two, number=number)
    await say(world.two, ack, AckExpected(world.two.id, ack.ack_id, []))
    sids = [f"{world.one.id}.{client:016d}" for client in range(CLIENTS)]
    parts = [sids[begin : begin + PART] for begin in range(0, CLIENTS, PART)]
    named = [AckExpected(world.one.id, ack.ack_id, some, [], [], part, len(parts)) for part, some in enumerate(parts)]
    said = [AckReceived(sid, ack.ack_id, b'["yes"]') for sid in sids]
    await say(world.one, ack, *named, *said)
    return await asking


@pytest.mark.parametrize("one_by_one", [False, True])
async def test_their_answers_hold_nobody_up_for_50_ms(world: Any, one_by_one: bool) -> None:
    longest = []
    for number in range(1, 4):
        async with turns() as found:
            assert len(await ask(world, number, one_by_one=one_by_one)) == CLIENTS
        longest.append(max(found))
    assert min(longest) < STALL_S, longest
