"""The tab Fan-out in locust's web interface, a page that draws it, and the report of the last run.

This runs inside locust, on the master or the only process: `events.init.add_listener(tab.add)`.
"""

import os
from collections import deque
from pathlib import Path
from typing import Any

import gevent
import msgspec
from flask import Blueprint, Response, request

from loadtest.ledger import live
from loadtest.ledger.result import Second, decode
from loadtest.runner import outcome, page, thresholds
from loadtest.runner.options import FOLDER, CannotRun

KEY = "fan-out"
EVERY_S = 1.0
SECONDS_KEPT = 900
_COLUMNS = [
    {"key": "figure", "title": "Figure"},
    {"key": "now", "title": "Last second"},
    {"key": "most", "title": "Most"},
]


class History:
    """The last minutes, second by second. A run that starts anew begins it anew."""

    def __init__(self) -> None:
        self.seconds: deque[Second] = deque(maxlen=SECONDS_KEPT)

    def take(self, now: live.Snapshot) -> None:
        if self.seconds and now.t < self.seconds[-1].t:
            self.seconds.clear()
        if not self.seconds or now.t > self.seconds[-1].t:
            figures = (now.emits_per_s, now.deliveries_per_s, now.bytes_per_s, now.clients)
            self.seconds.append(Second(now.t, *figures, now.p50_ms, now.p95_ms, now.p99_ms))

    def rows(self, now: live.Snapshot) -> list[dict[str, str]]:
        """For the tab's table."""
        most = {name: max((getattr(s, name) for s in self.seconds), default=0) for name in Second.__struct_fields__}
        figures = [
            ("Clients", now.clients, most["clients"]),
            ("Emits a second", now.emits_per_s, most["emits"]),
            ("Deliveries a second", now.deliveries_per_s, most["deliveries"]),
            ("Megabytes a second", now.bytes_per_s / 1e6, most["bytes"] / 1e6),
            ("Latency p50, ms", now.p50_ms, most["p50_ms"]),
            ("Latency p95, ms", now.p95_ms, most["p95_ms"]),
            ("Latency p99, ms", now.p99_ms, most["p99_ms"]),
        ]
        rows = [
            {"name": name, "figure": name, "now": thresholds.number(value), "most": thresholds.number(high)}
            for name, value, high in figures
        ]
        return [*rows, {"name": "lost", "figure": "Seem lost so far", "now": thresholds.number(now.lost), "most": ""}]


def add(environment: Any, **_: Any) -> None:
    """A listener of locust's `init` event. Without a web interface it does nothing."""
    web_ui = environment.web_ui
    if web_ui is None:
        return
    history = History()
    gevent.spawn(_follow, history)
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Fan-out", "key": KEY}],
        "extended_tables": [{"key": KEY, "structure": _COLUMNS}],
    }
    pages = Blueprint(KEY, __name__, url_prefix=(environment.parsed_options.web_base_path or None))

    for path, view in {
        "/fan-out": lambda: page.render_live(list(history.seconds), whole=True),
        "/fan-out/charts": lambda: page.render_live(list(history.seconds), whole=False),
        "/fan-out/report": lambda: _report(environment.host or ""),
    }.items():
        pages.add_url_rule(path, path.strip("/").replace("/", "-"), web_ui.auth_required_if_enabled(view))

    @pages.after_app_request
    def extend(response: Response) -> Response:
        if request.endpoint == "locust.request_stats" and response.is_json:
            stats = [{"key": KEY, "data": history.rows(live.snapshot())}]
            response.set_data(msgspec.json.encode({**response.get_json(), "extended_stats": stats}))
        return response

    web_ui.app.register_blueprint(pages)


def _follow(history: History) -> None:
    while True:
        history.take(live.snapshot())
        gevent.sleep(EVERY_S)


def _report(url: str) -> Response:
    """Of the run that ended last."""
    path = Path(os.environ.get("LOADTEST_RESULT", ""))
    if not path.is_file():
        return Response("No run has ended yet", 404, mimetype="text/plain")
    try:
        result = decode(path.read_bytes())
        limits = thresholds.load(FOLDER / "thresholds.toml", result.scenario)
    except (msgspec.ValidationError, msgspec.DecodeError, CannotRun) as error:
        return Response(str(error), 500, mimetype="text/plain")
    return Response(page.render(outcome.judged(result, limits, url)))
