"""Panels of Grafana, as it reads them in JSON: only kinds and options that every recent Grafana has. Pure.

`timeseries`, `stat`, `table`, `heatmap` and `text` make a panel without its place; `observe.dashboard` gives it one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Panel = dict[str, Any]
Unit = Literal["short", "s", "bytes", "percentunit", "cps"]
"""Of Grafana: `s` is seconds, `cps` counts per second, `percentunit` a share of 1."""

SOURCE = {"type": "prometheus", "uid": "prometheus"}
"""observe/grafana/provisioning/datasources declares it."""
GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True, slots=True)
class Line:
    """One query. `legend` may hold labels, such as `{{reason}}`."""

    expr: str
    legend: str = ""


def timeseries(title: str, lines: Sequence[Line], unit: Unit, about: str = "", *, stacked: bool = False) -> Panel:
    """Lines over time. `stacked`: areas on top of each other, so that their sum can be seen."""
    custom: dict[str, Any] = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
    if stacked:
        custom |= {"fillOpacity": 40, "stacking": {"group": "A", "mode": "normal"}}
    return _panel("timeseries", title, about) | {
        "fieldConfig": {"defaults": {"custom": custom, "min": 0, "unit": unit}, "overrides": []},
        "options": {
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": _targets(lines),
    }


def stat(title: str, expr: str, unit: Unit = "short", about: str = "", *, colours: Mapping[int, str]) -> Panel:
    """One large figure. `colours`: from which value on it has which colour; the lowest one is the first."""
    steps = [{"color": colour, "value": value} for value, colour in sorted(colours.items())]
    steps[0]["value"] = None
    return _panel("stat", title, about) | {
        "fieldConfig": {
            "defaults": {"thresholds": {"mode": "absolute", "steps": steps}, "unit": unit},
            "overrides": [],
        },
        "options": {
            "colorMode": "value",
            "graphMode": "area",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value",
        },
        "targets": _targets([Line(expr)]),
    }


def table(title: str, expr: str, columns: Mapping[str, str], about: str = "") -> Panel:
    """What holds now, a row for each series. `columns`: labels to show, and their headings, from left to right."""
    return _panel("table", title, about) | {
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {"showHeader": True},
        "targets": [_target("A", Line(expr)) | {"format": "table", "instant": True}],
        "transformations": [
            {"id": "filterFieldsByName", "options": {"include": {"names": [*columns]}}},
            {
                "id": "organize",
                "options": {
                    "indexByName": {name: place for place, name in enumerate(columns)},
                    "renameByName": dict(columns),
                },
            },
        ],
    }


def heatmap(title: str, expr: str, about: str = "") -> Panel:
    """How durations are spread, over time. `expr` gives the buckets of a histogram, by `le`."""
    return _panel("heatmap", title, about) | {
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
            "tooltip": {"mode": "single", "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "unit": "s"},
        },
        "targets": [_target("A", Line(expr, "{{le}}")) | {"format": "heatmap"}],
    }


def text(title: str, content: str) -> Panel:
    """Words, in Markdown."""
    return {"type": "text", "title": title, "options": {"content": content, "mode": "markdown"}}


def _panel(kind: str, title: str, about: str) -> Panel:
    return {"type": kind, "title": title, "description": about, "datasource": SOURCE}


def _targets(lines: Sequence[Line]) -> list[Panel]:
    return [_target(chr(ord("A") + place), line) for place, line in enumerate(lines)]


def _target(ref: str, line: Line) -> Panel:
    return {"refId": ref, "datasource": SOURCE, "expr": line.expr, "legendFormat": line.legend or "__auto"}
