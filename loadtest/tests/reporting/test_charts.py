"""Charts are well-formed, to scale, and safe with any name."""

from xml.etree import ElementTree

import pytest
from loadtest.reporting.charts import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH, Line, bar_chart, line_chart


def points(path: str) -> list[tuple[float, float]]:
    words = path.replace("M", " M").replace("L", " L").split()
    return [(float(x[1:]), float(y)) for x, y in zip(words[::2], words[1::2], strict=True)]


def lines(drawing: str) -> list[str]:
    root = ElementTree.fromstring(drawing)
    return [path.get("d", "") for path in root.findall("path") if "line" in path.get("class", "")]


def test_a_line_is_to_scale():
    (line,) = lines(line_chart("rate", [0, 5, 10], [Line("a", [0.0, 50.0, 100.0])]))
    assert points(line) == [
        (LEFT, HEIGHT - BOTTOM),
        ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2),
        (392, TOP),
    ]


def test_a_gap_is_no_line():
    (line,) = lines(line_chart("p99", [0, 1, 2, 3], [Line("a", [1.0, None, 2.0, 3.0])]))
    assert line.count("M") == 2
    assert len(points(line)) == 3


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0], [1e-9, 2e-9], [1e12, 3.0]])
def test_any_values_can_be_drawn(values):
    ElementTree.fromstring(line_chart("any", list(range(len(values))), [Line("a", values)]))


def test_a_long_run_is_thinned_and_keeps_its_peaks():
    values = [1.0] * 10_000
    values[7_777] = 400.0
    (line,) = lines(line_chart("long", list(range(10_000)), [Line("a", values)]))
    assert len(points(line)) <= MOST_POINTS
    assert min(y for _, y in points(line)) == TOP


def test_names_cannot_break_out():
    root = ElementTree.fromstring(bar_chart('a"b<c>', [("<script>", 3), ("&", 0)]))
    assert [text.text for text in root.findall("text")] == ["<script>", "3 (100.0 %)", "&", "0 (0.0 %)"]
    ElementTree.fromstring(line_chart("<x>", [0, 1], [Line("<y>", [1.0, 2.0])]))
