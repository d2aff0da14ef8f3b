"""A dashboard of Grafana: rows of panels, each with its place on a grid that is 24 wide. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from observe.panels import SOURCE, Panel

WIDTH = 24
TAG = "socketio-cluster"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading. `across`: how many stand beside each other; `height`: of each, in Grafana's units."""

    title: str
    panels: Sequence[Panel]
    across: int = 3
    height: int = 8


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`uid` is its address in Grafana, and its file's name. `job`: its user may choose some nodes of this kind."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]
    job: str = ""


def render(dashboard: Dashboard) -> dict[str, Any]:
    """What Grafana reads."""
    return {
        "annotations": {"list": []},
        "description": dashboard.about,
        "editable": False,
        "graphTooltip": 1,
        "id": None,
        "links": [_link_to_the_others()],
        "panels": _placed(dashboard.rows),
        "refresh": "10s",
        "schemaVersion": 39,
        "tags": [TAG],
        "templating": {"list": [_choice_of_nodes(dashboard.job)] if dashboard.job else []},
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "title": dashboard.title,
        "uid": dashboard.uid,
        "version": 1,
    }


def _placed(rows: Sequence[Row]) -> list[Panel]:
    """Each row's heading, and its panels from left to right, then below."""
    placed: list[Panel] = []
    top = 0
    for row in rows:
        heading = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        placed.append(_at(heading, len(placed) + 1, 0, top, WIDTH, 1))
        top += 1
        width = WIDTH // row.across
        for place, panel in enumerate(row.panels):
            line, column = divmod(place, row.across)
            placed.append(_at(panel, len(placed) + 1, column * width, top + line * row.height, width, row.height))
        top += -(-len(row.panels) // row.across) * row.height
    return placed


def _at(panel: Panel, number: int, left: int, top: int, width: int, height: int) -> Panel:
    return {**panel, "id": number, "gridPos": {"x": left, "y": top, "w": width, "h": height}}


def _link_to_the_others() -> dict[str, Any]:
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": False,
        "keepTime": True,
        "tags": [TAG],
        "targetBlank": False,
        "title": "",
        "type": "dashboards",
        "url": "",
    }


def _choice_of_nodes(job: str) -> dict[str, Any]:
    """The variable `instance`: some of the nodes, by default all."""
    query = f'label_values(up{{job="{job}"}}, instance)'
    return {
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": SOURCE,
        "definition": query,
        "includeAll": True,
        "label": job,
        "multi": True,
        "name": "instance",
        "query": {"query": query, "refId": "instance"},
        "refresh": 2,
        "sort": 1,
        "type": "query",
    }
