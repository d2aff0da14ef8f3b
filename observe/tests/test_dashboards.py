"""The dashboards that are committed are those that `python -m observe` writes, and Grafana can read them."""

import re
from itertools import combinations

import pytest
from observe.__main__ import FOLDER, files
from observe.panels import SOURCE
from observe.tests.expressions import labels_of, metrics_of
from observe.tests.grafana import Board, Box, Chart
from observe.tests.known import TARGET_LABELS, known
from observe.tests.rule_files import content
from tests.docs.exported import exported_name, families

from sio_cluster.node.monitoring.metrics import AnyFamily, HistogramFamily

HERE = FOLDER.parent.parent
BOARDS = {name: Board.model_validate_json(text) for name, text in files().items()}
ALL_BOARDS = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
ALL_CHARTS = pytest.mark.parametrize(
    "chart", [pytest.param(chart, id=f"{name}: {chart.title}") for name in BOARDS for chart in BOARDS[name].charts()]
)


def test_the_files_are_those_that_the_script_writes() -> None:
    committed = {file.name: file.read_bytes() for file in FOLDER.iterdir()}
    assert committed == {name: text.encode() for name, text in files().items()}, "call: .venv/bin/python -m observe"


@ALL_BOARDS
def test_its_panels_have_places_and_numbers_of_their_own(board: Board) -> None:
    assert len({panel.id for panel in board.panels}) == len(board.panels)
    assert all(panel.gridPos.x + panel.gridPos.w <= 24 for panel in board.panels)
    assert [pair for pair in combinations(board.panels, 2) if _overlap(*pair)] == []


def _overlap(one: Box, other: Box) -> bool:
    a, b = one.gridPos, other.gridPos
    return a.x < b.x + b.w and b.x < a.x + a.w and a.y < b.y + b.h and b.y < a.y + a.h


@ALL_BOARDS
def test_it_asks_for_nodes_only_if_its_user_can_choose_some(board: Board) -> None:
    asks = any("$instance" in target.expr for chart in board.charts() for target in chart.targets)
    assert asks == bool(board.templating.list)


@ALL_CHARTS
def test_the_metrics_and_labels_of_a_panel_exist(chart: Chart) -> None:
    have = known()
    for target in chart.targets:
        named = metrics_of(target.expr)
        assert named
        assert named <= set(have)
        labels = TARGET_LABELS.union(*(have[name] for name in named))
        assert labels_of(target.expr) <= labels
        assert set(re.findall(r"{{(\w+)}}", target.legendFormat)) <= labels_of(target.expr) | {"equation", "instance"}


@pytest.mark.parametrize("family", families(), ids=exported_name)
def test_every_metric_is_on_a_board(family: AnyFamily) -> None:
    shown = {name for board in BOARDS.values() for chart in board.charts() for target in chart.targets
             for name in metrics_of(target.expr)}  # fmt: skip
    name = exported_name(family)
    parts = ("_bucket", "_sum", "_count") if isinstance(family, HistogramFamily) else ("",)
    assert shown & {f"{name}{part}" for part in parts}


@ALL_CHARTS
def test_a_figure_that_nobody_reports_is_0(chart: Chart) -> None:
    """Where all nodes are gone there are no series, and "No data" is not red."""
    thresholds = chart.fieldConfig.defaults.thresholds
    if thresholds is not None and thresholds.steps[0].color == "red":
        assert all(target.expr.endswith(" or vector(0)") for target in chart.targets)


def test_every_board_has_an_address_of_its_own() -> None:
    assert len({board.uid for board in BOARDS.values()}) == len(BOARDS)
    assert {f"{board.uid}.json" for board in BOARDS.values()} == set(BOARDS)


def test_grafana_is_told_how_often_prometheus_asks() -> None:
    """Its windows would be too narrow otherwise, and panels empty."""
    asked = content(HERE / "prometheus/prometheus.yml")["global"]["scrape_interval"]
    [source] = content(HERE / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["jsonData"]["timeInterval"] == asked
    assert (source["type"], source["uid"]) == (SOURCE["type"], SOURCE["uid"])
