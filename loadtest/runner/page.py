"""`report.html`: one page that needs nothing else, not even a network."""

import time

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from loadtest.ledger.result import Result, Second
from loadtest.runner.charts import Line, bar_chart, line_chart, short
from loadtest.runner.outcome import Outcome
from loadtest.runner.thresholds import number
from loadtest.runner.words import headline, rows_of_connects, rows_of_integrity, rows_of_latency


def render(outcome: Outcome) -> str:
    """The whole page."""
    environment = Environment(
        loader=PackageLoader("loadtest.runner"),
        autoescape=select_autoescape(["j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "number": number}
    result = outcome.result
    return environment.get_template("report.html.j2").render(
        outcome=outcome,
        result=result,
        began=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(result.started_at)),
        headline=headline(outcome),
        charts=_charts(result),
        latency=rows_of_latency(result),
        connects=rows_of_connects(result),
        integrity=rows_of_integrity(result),
        taken=sum(result.clients_by_io_node.values()),
    )


def _charts(result: Result) -> list[tuple[str, Markup, list[Line]]]:
    """Title, drawing, and the lines that a legend has to name."""
    seconds = result.seconds
    xs = [float(second.t) for second in seconds]
    latency = [
        Line("p99", _when_any(seconds, "p99_ms"), 3),
        Line("p95", _when_any(seconds, "p95_ms"), 2),
        Line("p50", _when_any(seconds, "p50_ms"), 1),
    ]
    charts = [
        ("Deliveries per second", [Line("deliveries", [float(s.deliveries) for s in seconds])], ""),
        ("Latency, milliseconds", latency, ""),
        ("Connected clients", [Line("clients", [float(s.clients) for s in seconds], 4)], ""),
    ]
    drawn = [
        (title, line_chart(title, xs, lines, unit), lines if len(lines) > 1 else []) for title, lines, unit in charts
    ]
    title = "Connections by io-node"
    drawn.append((title, bar_chart(title, sorted(result.clients_by_io_node.items())[:64]), []))
    return drawn


def _when_any(seconds: list[Second], quantile: str) -> list[float | None]:
    """Nothing where nothing was delivered: a latency of 0 would be a lie."""
    return [getattr(second, quantile) if second.deliveries else None for second in seconds]
