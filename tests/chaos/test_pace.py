"""Clients send as much as the machine bears."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.chaos.crowd import Crowd
from tests.chaos.pace import LEAST, REFERENCE, pace, pace_now, stolen


@pytest.mark.parametrize(
    ("processors", "speed", "expected"),
    [(16, REFERENCE, 1.0), (1, REFERENCE, 0.43), (1, REFERENCE / 2, 0.22), (0.5, REFERENCE / 10, LEAST)],
)
def test_it_follows_from_the_processors_and_their_speed(processors: float, speed: float, expected: float) -> None:
    assert pace(processors, speed) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("spent", "expected"),
    [
        ({"user": 6, "system": 2, "idle": 50, "steal": 2}, 0.2),
        ({"user": 6, "system": 2, "idle": 50, "steal": 0}, 0.0),
        ({"user": 0.6, "system": 0.2, "idle": 50, "steal": 0.8}, 0.0),  # too little to say
        ({"user": 6, "system": 2, "idle": 50}, 0.0),  # nobody says what was stolen
    ],
)
def test_what_others_took_of_the_machine(spent: dict[str, float], expected: float) -> None:
    before = dict.fromkeys(spent, 64.0)
    assert stolen(before, {kind: 64.0 + more for kind, more in spent.items()}) == pytest.approx(expected)


def test_it_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_PACE", "0.7")
    assert pace_now() == 0.7
    monkeypatch.delenv("CHAOS_PACE")
    assert LEAST <= pace_now() <= 1.0


@pytest.mark.parametrize(
    ("wait_s", "expected"),
    [
        (lambda pace: 0.02, 1.0),
        (lambda pace: 1.0 if pace > 0.5 else 0.02, 0.49),
        (lambda pace: 1.0, LEAST),
    ],
)
async def test_it_falls_until_nobody_waits(tmp_path: Path, wait_s: Callable[[float], float], expected: float) -> None:
    crowd = Crowd("http://nowhere", tmp_path, websockets=10, pollers=0, rate=10, seed=1)

    async def serve() -> None:
        while True:
            for member in crowd.members:
                member.acked += 1
                member.waited_s = wait_s(crowd.pace)
            crowd._moved.set()
            await asyncio.sleep(0)

    serving = asyncio.create_task(serve())
    await asyncio.wait_for(crowd.settle(), 5)
    serving.cancel()
    assert crowd.pace == pytest.approx(expected, abs=0.01)
    assert crowd.rate == pytest.approx(100 * crowd.pace)
