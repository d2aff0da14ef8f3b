"""Line and bar charts as SVG, to be put into a page. Colours are CSS classes that the page's style defines.

A chart is drawn at the size of a phone. A wide screen scales it up, with its text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 400, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 22
MOST_POINTS = 200
_TICKS = 4
_ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
_INNER_W, _INNER_H = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


@dataclass(frozen=True, slots=True)
class Line:
    """One value for each x of the chart; None leaves a gap. `tone` 1 to 4 is one of the page's colours."""

    name: str
    values: Sequence[float | None]
    tone: int = 1


def line_chart(label: str, xs: Sequence[float], lines: Sequence[Line], unit: str = "") -> Markup:
    """Lines over seconds. `label` is for screen readers. Of many points, the highest of each group is drawn."""
    xs, lines = _thinned(xs, lines)
    top = _ceiling(max((value for line in lines for value in line.values if value is not None), default=0.0))
    end = max(xs, default=0.0) or 1.0
    at = [(LEFT + x / end * _INNER_W) for x in xs]
    parts = [*_grid(top, unit), *_seconds(end)]
    for line in lines:
        parts.append(f'<path class="line t{line.tone}" d="{_path(at, line.values, top)}"/>')
    parts += _hover(at, xs, lines, unit)
    return _svg(label, parts, HEIGHT)


def bar_chart(label: str, bars: Sequence[tuple[str, float]]) -> Markup:
    """A bar for each name, with its value and its share of the sum."""
    total, top = sum(value for _, value in bars) or 1.0, max((value for _, value in bars), default=0.0) or 1.0
    parts = []
    for row, (name, value) in enumerate(bars):
        y, width = 6 + row * 26, max(1.0, value / top * (WIDTH - 200))
        parts.append(f'<text x="84" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="bar" x="92" y="{y}" width="{width:.1f}" height="18" rx="3"/>')
        text = f"{value:,.0f} ({100 * value / total:.1f} %)"
        parts.append(f'<text x="{98 + width:.1f}" y="{y + 13}">{text}</text>')
    return _svg(label, parts, 12 + 26 * max(1, len(bars)))


def short(value: float) -> str:
    """1,234,567 is 1.2M."""
    for least, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= least:
            return f"{value / least:.3g}{letter}"
    return f"{value:.3g}"


def _svg(label: str, parts: Sequence[str], height: int) -> Markup:
    """The whole drawing. The texts in `parts` must be escaped already."""
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(parts) + "</svg>")


def _grid(top: float, unit: str) -> list[str]:
    parts = []
    for tick in range(_TICKS + 1):
        y = TOP + _INNER_H * (1 - tick / _TICKS)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{short(top * tick / _TICKS)}'
            f"{escape(unit) if tick == _TICKS else ''}</text>"
        )
    return parts


def _seconds(end: float) -> list[str]:
    step = _step(end / 5)
    return [
        f'<text x="{LEFT + x / end * _INNER_W:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{x:g} s</text>'
        for x in (step * number for number in range(int(end / step) + 1))
        if x < end * 0.97
    ]


def _path(at: Sequence[float], values: Sequence[float | None], top: float) -> str:
    words, pen = [], "M"
    for x, value in zip(at, values, strict=True):
        if value is None:
            pen = "M"
            continue
        words.append(f"{pen}{x:.1f} {TOP + _INNER_H * (1 - value / top):.1f}")
        pen = "L"
    return "".join(words)


def _hover(at: Sequence[float], xs: Sequence[float], lines: Sequence[Line], unit: str) -> list[str]:
    """An invisible strip over each point; its tooltip names the values."""
    width = _INNER_W / max(1, len(at) - 1)
    return [
        f'<rect class="hover" x="{x - width / 2:.1f}" y="{TOP}" width="{width:.1f}" height="{_INNER_H}"><title>'
        + "\n".join(
            [f"{second:g} s"]
            + [f"{escape(li.name)}: {v:,.4g}{escape(unit)}" for li in lines if (v := li.values[index]) is not None]
        )
        + "</title></rect>"
        for index, (x, second) in enumerate(zip(at, xs, strict=True))
    ]


def _thinned(xs: Sequence[float], lines: Sequence[Line]) -> tuple[Sequence[float], Sequence[Line]]:
    span = math.ceil(len(xs) / MOST_POINTS)
    if span <= 1:
        return xs, lines
    starts = range(0, len(xs), span)
    return [xs[start] for start in starts], [
        Line(
            line.name,
            [max((v for v in line.values[s : s + span] if v is not None), default=None) for s in starts],
            line.tone,
        )
        for line in lines
    ]


def _ceiling(value: float) -> float:
    """The smallest round number from `value` up whose quarter is round too."""
    return _step(value / _TICKS) * _TICKS if value > 0 else float(_TICKS)


def _step(value: float) -> float:
    """The smallest round number from `value` up, such as 1, 1.5, 2, 2.5 or 3 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(factor * power for factor in _ROUND if factor * power >= value * (1 - 1e-9)))
