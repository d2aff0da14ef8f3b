"""Three additions to locust's web interface: the tab Fan-out, the report of the last run at /fan-out/report, and
/metrics for Prometheus.

Locust's own tabs show deliveries too: `statistics` adds them, so that tab Statistics has their rate and latency and tab
Charts draws them. The tab Fan-out has what locust does not know: emits, connected clients, bytes, and what seems lost.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from loadtest.accounting.result import Snapshot, decode
from loadtest.errors import CannotRun
from loadtest.reporting import page, thresholds
from loadtest.reporting.exposition import exposition
from loadtest.reporting.outcome import number

KEY = "fan-out"
_COLUMNS = [{"key": "figure", "title": "Figure"}, {"key": "now", "title": "Last second"}]


def add(environment: Any, snapshot: Callable[[], Snapshot]) -> None:
    """Adds them on the master, or in the only process. Without a web interface it does nothing."""
    web_ui = environment.web_ui
    if web_ui is None:
        return
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Fan-out", "key": KEY}],
        "extended_tables": [{"key": KEY, "structure": _COLUMNS}],
    }
    pages = Blueprint(KEY, __name__, url_prefix=(environment.parsed_options.web_base_path or None))
    report = web_ui.auth_required_if_enabled(lambda: _report(environment.host or ""))
    pages.add_url_rule("/fan-out/report", "fan-out-report", report)
    metrics = web_ui.auth_required_if_enabled(lambda: Response(exposition(snapshot()), mimetype="text/plain"))
    pages.add_url_rule("/metrics", "metrics", metrics)

    @pages.after_app_request
    def extend(response: Response) -> Response:
        if request.endpoint == "locust.request_stats" and response.is_json:
            stats = [{"key": KEY, "data": rows(snapshot())}]
            response.set_data(msgspec.json.encode({**response.get_json(), "extended_stats": stats}))
        return response

    web_ui.app.register_blueprint(pages)


def rows(now: Snapshot) -> list[dict[str, str]]:
    """The rows of the tab."""
    figures = {
        "Clients": now.clients,
        "Emits a second": now.emits_per_s,
        "Deliveries a second": now.deliveries_per_s,
        "Megabytes a second": now.bytes_per_s / 1e6,
        "Latency p50, ms": now.p50_ms,
        "Latency p95, ms": now.p95_ms,
        "Latency p99, ms": now.p99_ms,
        "Seem lost so far": now.lost,
    }
    return [{"name": name, "figure": name, "now": number(value)} for name, value in figures.items()]


def _report(url: str) -> Response:
    """The page of the run that ended last."""
    path = Path(os.environ.get("LOADTEST_RESULT", ""))
    if not path.is_file():
        return Response("No run has ended yet", 404, mimetype="text/plain")
    try:
        result = decode(path.read_bytes())
        limits = thresholds.load(thresholds.FILE, result.scenario)
    except (msgspec.ValidationError, msgspec.DecodeError, CannotRun) as error:
        return Response(str(error), 500, mimetype="text/plain")
    return Response(page.render(thresholds.judged(result, limits, url)))
