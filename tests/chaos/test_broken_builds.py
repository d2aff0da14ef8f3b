"""The checker can fail: builds that are broken by intent (tests/chaos/broken_app.py) are caught, each in its column.

None here shows two app-nodes at work for one client: Redis' own fence stands in the way of a build that does not look
at its leases. tests/chaos/test_checker.py and the mutants of tests/model have that column.
"""

from contextlib import AbstractAsyncContextManager

import pytest
from tests.chaos.checker import COLUMNS, Allowed, broken_promises
from tests.chaos.field import DISCONNECTED_S, Field, field
from tests.conftest import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(90)]

IN_VAIN_S = 3.0
"""So long a build is waited for that never tells of a disconnect, or never agrees on rooms."""

BROKEN = str(ROOT / "tests/chaos/broken_app.py") + ":sio"
CAUGHT = {
    "drop-event": {"events_lost", "acks_missing"},
    "double-event": {"events_doubled"},
    "swap-events": {"events_reordered"},
    "drop-emit": {"emits_lost"},
    "double-emit": {"emits_doubled"},
    "swap-emits": {"emits_reordered"},
    "drop-ack": {"acks_missing"},
    "double-ack": {"emits_doubled"},
    "drop-disconnect": {"disconnects_missing"},
    "double-disconnect": {"disconnects_doubled"},
}


@pytest.mark.parametrize("defect", CAUGHT)
async def test_one_in_a_thousand_is_caught(seed: int, defect: str) -> None:
    """The defect shows in its own columns and in no other."""
    async with _broken(seed, defect) as it:
        await it.crowd.progress(60, 30)
        within_s = IN_VAIN_S if defect == "drop-disconnect" else DISCONNECTED_S
        verdict = await it.judge(answered_within_s=1, disconnected_within_s=within_s)
    assert broken_promises(verdict, Allowed())
    assert {column for column in COLUMNS if getattr(verdict, column)} == CAUGHT[defect], verdict.examples


async def test_a_client_that_did_not_enter_its_room_is_caught(seed: int) -> None:
    """Records and room index have it there; its io-node has not."""
    async with _broken(seed, "drop-join") as it:
        await it.crowd.progress(60, 30)
        verdict = await it.judge(agreed_within_s=IN_VAIN_S)
    assert broken_promises(verdict, Allowed()) == []
    assert it.disagreements
    assert all("no say io-nodes" in line for line in it.disagreements), it.disagreements


def _broken(seed: int, defect: str) -> AbstractAsyncContextManager[Field]:
    return field(
        f"broken build, {defect}", seed, io_nodes=1, app=BROKEN, official=False, websockets=80, pollers=0, rate=20,
        paced=False, env={"CHAOS_BROKEN": defect, "SHUTDOWN_MS": "1000"},  # some count an event that never ends
    )  # fmt: skip
