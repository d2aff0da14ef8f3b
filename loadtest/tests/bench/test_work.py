"""The benchmark measures what it says, tried with few clients."""

import math

import pytest
from loadtest.bench import plan, report, targets
from loadtest.bench.load.clients import Client, Tally, connect, disconnect, join
from loadtest.bench.plan import QUICK, SITTINGS
from loadtest.bench.work import acks, fan_out

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

COLUMNS = [
    ("one", "this"),
    *(
        pytest.param(sitting, column, marks=pytest.mark.ci_only)
        for sitting, column in (
            ("one", "bare"), ("one", "relay"), ("one", "python"), ("arrivals", "this"), ("recovery", "this off"),
            ("promises", "relay"), ("promises", "this narrow"),
            ("polling", "this"), ("four", "relay"), ("four", "this"),
            ("growth", "this 1"), ("return", "this"), ("browsers", "this"),
        )
    ),
]  # fmt: skip
"""Socket.IO's own server is not here, because only `make bench` installs it. CI runs that too."""


@pytest.mark.parametrize(("sitting", "column"), COLUMNS)
async def test_each_row_has_its_figure(sitting: str, column: str) -> None:
    async with SITTINGS[sitting].columns[column]() as target:
        figures = await SITTINGS[sitting].measure(target, QUICK)
    for row in SITTINGS[sitting].rows(QUICK):
        figure = figures[row.work][row.figure]
        assert not math.isnan(figure), row.title
        assert figure > 0 or "memory" in row.title, row.title
    for work, values in figures.items():
        assert not [fault for fault in report.FAULTS if values.get(fault)], work


async def test_what_does_not_come_counts_as_lost_and_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "COMPLETE_S", 1.0)
    monkeypatch.setattr(acks, "ANSWERS_S", 0.5)
    tally = Tally()
    async with targets.bare() as target:
        clients = await connect(target.ports, 3, tally)
        await join(clients, [["all"]] * 3)
        clients[2].disconnect()
        blast = await fan_out.blast(target, clients, tally, "all", bursts=4, burst=1)
        volleys = await fan_out.volleys(target, clients, tally, "all", bursts=2, burst=3)
        events = await acks.open_loop(target, clients, tally, 0.3, 100)
        disconnect(clients)
    assert blast["lost"] == 4
    assert volleys["lost"] == 6
    assert 0 < events["missing"] <= 30 / 3 + 10


async def test_a_closed_loop_has_one_event_under_way_each() -> None:
    tally = Tally()
    async with targets.bare() as target:
        clients = await connect(target.ports, 2, tally)
        most = 0
        answered = Client._answered

        def counting(client: Client, number: int) -> None:
            nonlocal most
            most = max(most, len(client.unanswered))
            answered(client, number)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Client, "_answered", counting)
            figures = await acks.closed_loop(target, clients, tally, 0.3)
        disconnect(clients)
    assert most == 1
    assert figures["per_second"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]


def test_the_quick_form_has_a_row_of_each_kind() -> None:
    for sitting in plan.SITTINGS.values():
        assert {row.figure for row in sitting.rows(QUICK)} == {row.figure for row in sitting.rows(plan.FULL)}
