"""The benchmark measures what it says, tried with few clients."""

import pytest
from loadtest.bench import report, rounds, targets
from loadtest.bench.load.clients import Client, Tally, connect, disconnect, join
from loadtest.bench.plan import SITTINGS
from loadtest.bench.sizes import FULL, QUICK
from loadtest.bench.work import acks, fan_out

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


async def test_each_row_has_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI tries all sittings and columns by `make bench ARGS=--quick`, which fails where a figure is missing."""
    monkeypatch.setattr(report, "machine", dict)  # Socket.IO's own server need not be installed here
    measured = await rounds.run(["one"], {"this"}, QUICK, 1, lambda line: None)
    result = report.result(measured, QUICK)
    assert len(result["lines"]) == len(SITTINGS["one"].rows(QUICK))
    assert result["faults"] == []


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
    for sitting in SITTINGS.values():
        assert {row.figure for row in sitting.rows(QUICK)} == {row.figure for row in sitting.rows(FULL)}
