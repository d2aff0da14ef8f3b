"""Medians, ratios and the chart, from rounds whose figures are known."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest
from loadtest.bench import chart, report
from loadtest.bench.plan import SITTINGS, Figures
from loadtest.bench.sizes import QUICK
from rich.console import Console


def figures(cpu_us: float, **more: float) -> Figures:
    """Of the polling sitting."""
    both = {"cpu_us": cpu_us, "p50_ms": 2 * cpu_us, "lost": 0, "out_of_order": 0, "generator": 0.5}
    return {"poll single": both | more, "poll burst": both}


MEASURED = {
    "polling": {
        "this": [figures(10), figures(30), figures(20)],
        "node": [figures(5), figures(8), figures(100)],
    }
}


@pytest.fixture(autouse=True)
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Socket.IO's own server need not be installed here."""
    monkeypatch.setattr(report, "machine", lambda: {"cores": "2"})


def test_medians_and_their_ratios() -> None:
    line = report.result(MEASURED, QUICK)["lines"][0]
    assert line["medians"] == {"this": 20, "node": 8}
    assert line["spread"] == {"this": (10, 30), "node": (5, 100)}
    assert line["ratios"] == {"this / node": 2.5}


def test_the_parts_of_this_cluster() -> None:
    parts = {"cpu_us holder": 4.0, "cpu_us app": 3.0, "cpu_us redis": 2.0}
    rounds = [
        figures(9, **parts),
        figures(9, **{**parts, "cpu_us app": 5.0}),
        figures(9, **{**parts, "cpu_us app": 4.0}),
    ]
    line, without, _ = report.result({"polling": {"this": rounds}}, QUICK)["lines"]
    assert line["parts"] == [4, 4, 2]
    assert without["parts"] == []


def test_a_peer_that_was_not_measured_is_left_out() -> None:
    lines = report.result({"polling": {"this": MEASURED["polling"]["this"]}}, QUICK)["lines"]
    assert [line["ratios"] for line in lines] == [{}, {}, {}]


def test_what_went_wrong_is_told() -> None:
    bad = {"polling": {"this": [figures(10, lost=3, generator=0.95)]}}
    result = report.result(bad, QUICK)
    assert result["faults"] == ["One server, long polling, this: poll single: 3 lost"]
    assert result["limited"] == ["One server, long polling, this: poll single: the load generator used 95% of its core"]


@pytest.mark.parametrize("figure", [math.nan, 0.0, None])
def test_a_row_without_a_figure_is_told(figure: float | None) -> None:
    found = figures(10)
    if figure is None:
        del found["poll burst"]["cpu_us"]
    else:
        found["poll burst"]["cpu_us"] = figure
    [fault] = report.result({"polling": {"this": [found]}}, QUICK)["faults"]
    assert fault == (
        "One server, long polling, this: no figure for: broadcast to 5 that poll, bursts of 50: CPU us a delivery"
    )


def test_memory_may_be_less_than_before_and_a_peer_may_not_do_a_work() -> None:
    row_of = {row.work: row.figure for row in SITTINGS["arrivals"].rows(QUICK)}
    assert "arrive recovering" in row_of
    memory = {"cpu_us": 1.0, "holder_kb": -1.0, "app_kb": 0.0, "redis_kb": 0.0}
    measured = {
        "arrivals": {
            "this": [{"arrive": memory, "arrive recovering": memory}],
            "node": [{"arrive": {**memory, "cpu_us": 0.0}, "arrive recovering": {}}],
        }
    }
    assert report.result(measured, QUICK)["faults"] == []


def test_the_table_has_every_row_and_ratio() -> None:
    console = Console(width=160)
    with console.capture() as text:
        report.show(console, report.result(MEASURED, QUICK))
    shown = text.get()
    assert all(row.title in shown for row in SITTINGS["polling"].rows(QUICK))
    assert "2.50x" in shown
    assert "medians of 3 rounds" in shown


def test_what_is_saved_can_be_read_again(tmp_path: Path) -> None:
    """Also where there is no figure, or none to divide by."""
    measured = {"polling": MEASURED["polling"] | {"node": [figures(0), figures(0), figures(math.nan)]}}
    result = report.result(measured, QUICK)
    path = tmp_path / "bench.json"
    path.write_bytes(msgspec.json.encode(result))
    assert chart.svg(report.load(path)) == chart.svg(result)


def test_the_chart_shows_a_bar_for_each_row() -> None:
    """More throughput is less cost: its bar is that of the inverse."""
    result = report.result(MEASURED, QUICK)
    result["lines"][1]["is_cost"] = False
    result["lines"][2]["ratios"] = {"this / node": math.nan, "this / relay": 2.0}
    root = ElementTree.fromstring(chart.svg(result))
    space = "{http://www.w3.org/2000/svg}"
    bars = root.findall(f"{space}rect")[1:]
    assert [bar.get("fill") for bar in bars] == [chart.WORSE, chart.BETTER]
    assert [text.text for text in root.iter(f"{space}text") if text.text in ("2.50", "0.40")] == ["2.50", "0.40"]
