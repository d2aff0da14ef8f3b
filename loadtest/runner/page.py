"""`report.html`: one page that needs nothing else, not even a network."""

import time
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, Template, select_autoescape
from markupsafe import Markup

from loadtest.ledger.result import Result, Second
from loadtest.runner.charts import Line, bar_chart, line_chart, short
from loadtest.runner.outcome import Outcome
from loadtest.runner.thresholds import number
from loadtest.runner.words import headline, rows_of_connects, rows_of_integrity, rows_of_latency

MOST_BARS = 64
Chart = tuple[str, Markup, list[Line]]  # title, drawing, and the lines that a legend has to name


def render(outcome: Outcome) -> str:
    """The whole page of a run."""
    result = outcome.result
    return _template("report").render(
        outcome=outcome,
        result=result,
        began=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(result.started_at)),
        headline=headline(outcome),
        charts=[*_over_time(result.seconds), _by_io_node(result)],
        latency=rows_of_latency(result),
        connects=rows_of_connects(result),
        integrity=rows_of_integrity(result),
    )


def render_live(seconds: Sequence[Second], *, whole: bool) -> str:
    """The page that follows a run, or only its charts."""
    return _template("live" if whole else "charts").render(charts=_over_time(seconds))


def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("loadtest.runner"),
        autoescape=select_autoescape(["j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "number": number}
    return environment.get_template(f"{name}.html.j2")


def _over_time(seconds: Sequence[Second]) -> list[Chart]:
    lines = {
        "Deliveries per second": [Line("deliveries", [float(second.deliveries) for second in seconds])],
        "Latency, milliseconds": [
            Line("p99", _when_any(seconds, "p99_ms"), 3),
            Line("p95", _when_any(seconds, "p95_ms"), 2),
            Line("p50", _when_any(seconds, "p50_ms"), 1),
        ],
        "Connected clients": [Line("clients", [float(second.clients) for second in seconds], 4)],
    }
    xs = [float(second.t) for second in seconds]
    return [(title, line_chart(title, xs, those), those if len(those) > 1 else []) for title, those in lines.items()]


def _by_io_node(result: Result) -> Chart:
    title = "Connections by io-node"
    return title, bar_chart(title, sorted(result.clients_by_io_node.items())[:MOST_BARS]), []


def _when_any(seconds: Sequence[Second], quantile: str) -> list[float | None]:
    """Nothing where nothing was delivered: a latency of 0 would be a lie."""
    return [getattr(second, quantile) if second.deliveries else None for second in seconds]
