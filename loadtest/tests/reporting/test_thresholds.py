"""The file of limits: read, refused with an explanation where it is wrong, and compared exactly."""

from pathlib import Path

import pytest
from loadtest.accounting.result import Quantiles, decode
from loadtest.errors import CannotRun
from loadtest.reporting import thresholds
from loadtest.reporting.outcome import PartUse, ServerUse
from loadtest.reporting.thresholds import figures

SAMPLE = Path(__file__).parents[1] / "accounting/sample_result.json"


@pytest.fixture
def result():
    return decode(SAMPLE.read_bytes())


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "thresholds.toml"
        path.write_text(text)
        return path

    return write


def test_the_file_that_comes_along_is_right_and_forbids_losses():
    limits = thresholds.load(thresholds.FILE, "fanout")
    assert (limits["max_lost"], limits["max_duplicated"], limits["max_reordered"]) == (0, 0, 0)
    assert limits["min_deliveries_per_s"] > 0


def test_every_limit_has_a_figure_and_every_figure_a_limit(result):
    named = {name[4:] for name in thresholds.Limits.__struct_fields__}
    assert named == figures(result, None).keys()


def test_a_scenario_replaces_and_removes_single_limits(file):
    path = file(
        '[limits]\nmax_lost = 0\nmax_latency_p99_ms = 5\n[scenario.ramp]\nmax_lost = 3\nmax_latency_p99_ms="none"'
    )
    assert thresholds.load(path, "fanout") == {"max_lost": 0, "max_latency_p99_ms": 5}
    assert thresholds.load(path, "ramp") == {"max_lost": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limits]\nmax_losst = 0", r"unknown key 'max_losst' in \[limits\]; there are max_lost, "),
        ("[limit]\nmax_lost = 0", r"unknown key 'limit'; there are limits, scenario"),
        ("[scenario.ramp]\nmin_luck = 0", r"unknown key 'min_luck' in \[scenario.NAME\]"),
        ("[limits]\nmax_lost = true", r'\[limits\] max_lost: expected a number or "none", got `bool`'),
        ('[limits]\nmax_lost = "few"', r"\[limits\] max_lost: invalid enum value 'few'"),
        ("limits = 3", r"\[limits\]: expected `object`, got `int`"),
        ("[limits]\nmax_lost = -1", r"\[limits\] max_lost = -1.0 is not a number from 0 on"),
        ("[limits]\nmax_lost = nan", r"\[limits\] max_lost = nan is not a number from 0 on"),
        ("[limits]\nmax_lost = inf", r"\[limits\] max_lost = inf is not a number from 0 on"),
        ("[limits\n", r"is not TOML: .* line 1"),
    ],
)
def test_a_wrong_file_is_refused_in_words(file, text, words):
    path = file(text)
    with pytest.raises(CannotRun, match=words) as refusal:
        thresholds.load(path, "fanout")
    assert str(refusal.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CannotRun, match=r"none.toml: No such file"):
        thresholds.load(tmp_path / "none.toml", "fanout")


@pytest.mark.parametrize(
    ("limit", "bound", "kept"),
    [
        ("max_latency_p99_ms", 9.3, True),
        ("max_latency_p99_ms", 9.2, False),
        ("min_deliveries_per_s", 19_322.3, True),
        ("min_deliveries_per_s", 19_323, False),
        ("max_failed_connects", 0, False),
        ("max_server_memory_mb", 1, None),
        ("min_knee_rate", 1, None),
    ],
)
def test_a_limit_is_kept_up_to_its_bound(result, limit, bound, kept):
    (judgement,) = thresholds.judge({limit: bound}, figures(result, None))
    assert judgement.kept is kept


def test_nothing_delivered_has_no_latency_that_could_pass(result):
    result.latency = Quantiles()
    assert figures(result, None)["latency_p99_ms"] is None


def test_a_scenario_that_allows_losses_is_not_judged_by_them(result):
    result.integrity.lost, result.losses_allowed = 7, True
    assert figures(result, None)["lost"] is None


def test_the_servers_figures_come_from_the_sampler(result):
    use = ServerUse([PartUse("io1", 1.0, 50.0, 80.0)], 1.0, 12.5, 80.0)
    assert figures(result, use)["server_cpu_us_per_delivery"] == 12.5
    assert figures(result, use)["server_memory_mb"] == 80.0
