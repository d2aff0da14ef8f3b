"""The ratios of a run as an SVG: each row a bar on a logarithmic axis, with this cluster's peer at 1."""

import math
from html import escape

from loadtest.bench.plan import SITTINGS
from loadtest.bench.report import Line, Result

WIDTH, LABELS, LINE, TOP = 980, 520, 22, 56
LOWEST, HIGHEST = 1 / 64, 8.0
TICKS = (1 / 32, 1 / 8, 1 / 2, 1, 2, 4)
BETTER, WORSE = "#2e8b57", "#c8553d"
LEFT = "Left of 1: better than the peer. Where more is better, the ratio is turned round: peer / this."


def svg(result: Result) -> str:
    """Each line's first ratio, as a cost: below 1 this cluster needs less than its peer.

    Where more is better, it is the peer's figure divided by ours: below 1 this cluster carries more.
    """
    lines = [line for line in result["lines"] if _first(line) > 0]
    height = TOP + LINE * (len(lines) + len({line["sitting"] for line in lines})) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(12, 22, "What this cluster needs, as a multiple of a peer", 'font-size="15" font-weight="bold"'),
        _text(12, 40, f"{LEFT} Medians of one run, same load, same machine.", 'fill="#555"'),
    ]
    for tick in TICKS:
        x, color = _x(tick), "#000" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{height - 24}" stroke="{color}"/>')
        label = f"{tick:g}" if tick >= 1 else f"1/{round(1 / tick)}"
        parts.append(_text(x, height - 8, label, 'text-anchor="middle" fill="#555"'))
    y, sitting = TOP, ""
    for line in lines:
        if line["sitting"] != sitting:
            sitting = line["sitting"]
            heading = f"{SITTINGS[sitting].title}: {next(iter(line['ratios']))}"
            parts.append(_text(12, y + 15, heading, 'font-weight="bold"'))
            y += LINE
        parts += _bar(line, y)
        y += LINE
    return "\n".join([*parts, "</svg>\n"])


def _first(line: Line) -> float:
    """Its first ratio. Not a number where it has none."""
    return next(iter(line["ratios"].values()), math.nan)


def _bar(line: Line, y: int) -> list[str]:
    cost = _first(line) if line["is_cost"] else 1 / _first(line)
    x, one = _x(cost), _x(1)
    left, width = min(x, one), max(1.0, abs(x - one))
    at, anchor = (x - 4, "end") if cost < 1 else (x + 4, "start")
    color = BETTER if cost < 1 else WORSE
    return [
        _text(24, y + 15, line["title"]),
        f'<rect x="{left:.1f}" y="{y + 4}" width="{width:.1f}" height="{LINE - 8}" fill="{color}"/>',
        _text(at, y + 15, f"{cost:.2f}", f'text-anchor="{anchor}"'),
    ]


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}" {style}>{escape(text)}</text>'


def _x(ratio: float) -> float:
    share = math.log(min(max(ratio, LOWEST), HIGHEST) / LOWEST) / math.log(HIGHEST / LOWEST)
    return round(LABELS + share * (WIDTH - LABELS - 60), 1)
