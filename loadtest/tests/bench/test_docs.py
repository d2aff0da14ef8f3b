"""The figures of a run in the documents."""

import re
from pathlib import Path

import pytest
from loadtest.bench import chart, docs, report
from loadtest.bench.plan import Figures
from loadtest.bench.sizes import QUICK


@pytest.fixture(autouse=True)
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Socket.IO's own server need not be installed here."""
    monkeypatch.setattr(report, "machine", lambda: {"cores": "2"})


def figures(cpu_us: float) -> Figures:
    """Of the polling sitting."""
    both = {"cpu_us": cpu_us, "p50_ms": 5000.0}
    return {"poll single": both, "poll burst": both}


def test_a_table_has_medians_their_spread_and_ratios() -> None:
    rounds = {"this": [figures(10), figures(30), figures(20)], "node": [figures(5.0), figures(5.1), figures(5.2)]}
    table = docs.tables(report.result({"polling": rounds}, QUICK))["polling"].splitlines()
    assert table[0] == "|  | this | node | this / node |"
    assert table[2].endswith("CPU us a delivery | 20.00 (10.00 to 30.00) | 5.10 | 3.92x |")
    assert table[3] == "| the same: p50 ms | 5,000 | 5,000 | 1.00x |"


def test_a_place_is_filled_again_and_again() -> None:
    text = "before\n<!-- BEGIN bench run -->\nold\n<!-- END bench run -->\nafter"
    once = docs.fill(text, "run", "new")
    assert once == "before\n<!-- BEGIN bench run -->\n\nnew\n\n<!-- END bench run -->\nafter"
    assert docs.fill(once, "run", "new") == once
    with pytest.raises(ValueError, match="no place for one"):
        docs.fill(text, "one", "new")


def test_a_run_of_some_sittings_fills_their_tables_and_nothing_else(tmp_path: Path) -> None:
    places = {
        name: f"<!-- BEGIN bench {name} -->\nold {name}\n<!-- END bench {name} -->" for name in ("run", "polling")
    }
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/performance.md").write_text("\n".join(places.values()))
    docs.write(report.result({"polling": {"this": [figures(10)], "node": [figures(5)]}}, QUICK), tmp_path)
    text = (tmp_path / "docs/performance.md").read_text()
    assert "old run" in text
    assert "old polling" not in text
    assert "| 10.00 | 5.00 | 2.00x |" in text
    assert not (tmp_path / "docs/performance.svg").exists()


def test_only_columns_that_were_measured_are_explained() -> None:
    result = report.result({"growth": {"this 8": [{"rooms": {}}], "node redis 8": [{"rooms": {}}]}}, QUICK)
    assert [line.partition(":")[0] for line in docs.columns(result).splitlines()] == ["- **this**", "- **node redis**"]


def test_a_row_in_which_more_is_better_says_so() -> None:
    done = {"cpu_us": 1.0, "p50_ms": 1.0, "p99_ms": 1.0, "per_second": 4.0}
    works = dict.fromkeys(("closed 1", "closed 5", "single", "burst", "volley"), done)
    result = report.result({"one": {"this": [works], "node": [{**works, "burst": {**done, "per_second": 2.0}}]}}, QUICK)
    assert "| the same: deliveries/s (more is better) | 4.00 | 2.00 | 2.00x |" in docs.tables(result)["one"]
    drawn = chart.svg(result)
    assert "turned round: peer / this" in drawn
    assert re.search(r">the same: deliveries/s \(more is better\)<.*\n.*\n.*>0\.50<", drawn)


def test_it_says_where_the_load_had_no_time_left() -> None:
    busy, idle = ({"poll single": {"generator": used}, "poll burst": {}} for used in (0.97, 0.5))
    rounds = report.result({"polling": {"this": [busy, busy], "node": [idle, idle]}}, QUICK)
    assert docs.limited(rounds).endswith("no time left here: One server, long polling, this: poll single.")
    rounds = report.result({"polling": {"node": [idle]}}, QUICK)
    assert docs.limited(rounds).endswith("had time left everywhere.")
