"""`report.html` and the terminal show the whole run, and `result.json` can be read back unchanged."""

import io
import re
from pathlib import Path

import pytest
from loadtest.accounting.result import Flaw, Knee, Result, Step, decode
from loadtest.reporting import outcome, page, terminal, thresholds
from loadtest.reporting.outcome import Outcome, PartUse, ServerUse
from rich.console import Console

SAMPLE = Path(__file__).parents[1] / "accounting/sample_result.json"
LIMITS = {"max_lost": 0.0, "max_latency_p99_ms": 500.0, "max_server_memory_mb": 900.0, "min_knee_rate": 1.0}


@pytest.fixture
def result() -> Result:
    return decode(SAMPLE.read_bytes())


def judged(result: Result) -> Outcome:
    use = ServerUse([PartUse("io1", 9.5, 15.0, 120.0), PartUse("valkey", 4.0, 7.0, 40.0)], 13.5, 14.25, 160.0)
    return thresholds.judged(result, LIMITS, "http://localhost:8080", embedded=True, io_nodes=4, server=use)


def printed(done: Outcome) -> str:
    text = io.StringIO()
    terminal.show(Console(file=text, width=100, soft_wrap=True), done)
    return text.getvalue()


def test_a_page_needs_nothing_from_elsewhere(result):
    text = page.render(judged(result))
    assert not re.search(r"<script|<link|<img|@import|url\(|(src|href)=", text)
    assert text.count("<svg") == 4


def test_both_show_the_figures_that_matter(result):
    for text in (page.render(judged(result)), printed(judged(result))):
        for words in ("19,322", "9.3 ms", "1,140,016", "io-1", "25.0 %", "14.2 µs", "160 MB", "handshake", "48 %"):
            assert words in text, words
    assert "All 3 limits kept" in printed(judged(result))
    assert "Not judged: knee rate" in printed(judged(result))


def test_both_show_what_went_wrong(result):
    result.integrity.lost = 12
    result.integrity.worst = [Flaw(3, 5, lost=12, first_lost_seq=77)]
    result.generator.healthy, result.generator.verdict = False, "a worker was late [red]<b>"
    result.knee = Knee(100, [Step(100, 100, 5000, 12.0, 0, True), Step(200, 150, 6000, 140.0, 0, False, "slow")], 100)
    result.notes = ["[bold]a note"]
    text = printed(judged(result))
    assert "Broken: lost: 12, allowed at most 0" in text
    for words in ("a worker was late [red]<b>", "[bold]a note", "slow"):
        assert words in text
    html = page.render(judged(result))
    for words in ("1 of 4 limits broken", "did not keep up", "[red]&lt;b&gt;", "first lost is no. 77", "slow"):
        assert words in html


def test_a_run_without_deliveries_can_be_shown(result):
    empty = Result("rpc", {}, result.started_at, 1.0)
    for text in (page.render(judged(empty)), printed(judged(empty))):
        assert "Nothing was delivered" in text


def test_an_outcome_comes_back_as_it_went(result):
    done = judged(result)
    assert outcome.decode(outcome.encode(done)) == done
