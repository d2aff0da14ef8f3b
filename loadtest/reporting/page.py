"""`report.html`: one page that needs nothing else, not even a network."""

import time
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from loadtest.accounting.result import Result, Second
from loadtest.reporting.charts import Line, bar_chart, line_chart
from loadtest.reporting.outcome import Outcome
from loadtest.reporting.tables import BY_IO_NODE, Bad, Good, Soft, Table, headline, limits, tables

MOST_BARS = 64
_CLASSES: dict[type[str], str] = {Bad: "bad", Good: "good", Soft: "text"}
Chart = tuple[str, Markup, list[Line]]  # title, drawing, and the lines that a legend has to name


def render(outcome: Outcome) -> str:
    """The whole page of a run."""
    environment = Environment(
        loader=PackageLoader("loadtest.reporting"),
        autoescape=select_autoescape(["j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tone"] = lambda cell: _CLASSES.get(type(cell), "")
    result = outcome.result
    return environment.get_template("report.html.j2").render(
        outcome=outcome,
        result=result,
        began=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(result.started_at)),
        headline=headline(outcome),
        charts=[*_over_time(result.seconds), _by_io_node(result)],
        tables=_tables(outcome),
    )


def _tables(outcome: Outcome) -> list[Table]:
    """The limits go beside Integrity. What a chart shows needs no table."""
    shown = [table for table in tables(outcome) if table.title != BY_IO_NODE]
    place = 1 + [table.title for table in shown].index("Integrity")
    return [*shown[:place], limits(outcome), *shown[place:]]


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
    title = BY_IO_NODE
    return title, bar_chart(title, sorted(result.clients_by_io_node.items())[:MOST_BARS]), []


def _when_any(seconds: Sequence[Second], quantile: str) -> list[float | None]:
    """A gap where nothing was delivered: a latency of 0 would be wrong."""
    return [getattr(second, quantile) if second.deliveries else None for second in seconds]
