"""Long work that lets others have their turn."""

import asyncio

from sio_cluster.node.turn import TURN_S, Turn


async def test_others_run_when_a_turn_is_over_and_then_the_next_one_begins() -> None:
    now = 0.0
    turn = Turn(lambda: now)
    now = TURN_S
    assert not turn.is_over()
    now = 2 * TURN_S
    assert turn.is_over()
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "other work")
    await turn.next()
    assert ran == ["other work"]
    assert not turn.is_over()
    now = 3.5 * TURN_S
    assert turn.is_over()
