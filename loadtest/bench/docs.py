"""`python -m loadtest.bench.docs loadtest/report/bench-....json`: puts the figures of a run into the documents.

The tables of docs/performance.md and the short one of README.md stand between comments that name them. The chart goes
to docs/performance.svg. So every figure there comes from one run, and none is copied by hand. A run of some sittings
fills their tables, and leaves all else as it is.
"""

import re
import sys
from pathlib import Path

from loadtest.bench import chart, report
from loadtest.bench.plan import COLUMNS, SITTINGS
from loadtest.bench.report import Line, Result

ROOT = Path(__file__).parents[2]
IN_README = {
    "one": ("acked round trip, ", "broadcast to ", "the same: p50"),
    "arrivals": ("connect and", "memory per idle connection, where"),
    "four": ("acked events, ", "events that emit to a room"),
}
"""The rows that README.md has, by how they begin."""


def tables(result: Result) -> dict[str, str]:
    """The Markdown tables by sitting."""
    return {name: _table([line for line in result["lines"] if line["sitting"] == name]) for name in result["rounds"]}


def short_table(result: Result, sitting: str) -> str:
    """The rows of a sitting that README.md has."""
    lines = [line for line in result["lines"] if line["sitting"] == sitting]
    return _table([line for line in lines if line["title"].startswith(IN_README[sitting])])


def ran(result: Result) -> str:
    """What it ran on, as a sentence."""
    rounds = max(len(runs) for columns in result["rounds"].values() for runs in columns.values())
    machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    return f"Medians of {rounds} rounds: {machine}."


def limited(result: Result) -> str:
    """Where the program that makes the load had no time left."""
    found = dict.fromkeys(re.sub(r": the load generator used .*", "", what) for what in result["limited"])
    if not found:
        return "In this run, the program that makes the load had time left everywhere."
    return f"In this run, the program that makes the load had no time left here: {'; '.join(found)}."


def columns(result: Result) -> str:
    """What the columns are, as a list."""
    measured = {re.sub(r" \d+$", "", name) for its in result["rounds"].values() for name in its}
    return "\n".join(f"- **{name}**: {meaning}" for name, meaning in COLUMNS.items() if name in measured)


def fill(text: str, name: str, content: str) -> str:
    """The document with the content between the comments of that name. Raises ValueError where they are not there."""
    begin, end = f"<!-- BEGIN bench {name} -->", f"<!-- END bench {name} -->"
    filled, times = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n\n{content}\n\n{end}", text, flags=re.DOTALL
    )
    if times != 1:
        raise ValueError(f"there is no place for {name}")
    return filled


def _table(lines: list[Line]) -> str:
    headings = ["", *lines[0]["medians"], *lines[0]["ratios"]]
    rows = [headings, ["---", *["---:"] * (len(headings) - 1)]]
    for line in lines:
        ratios = (f"{ratio:.2f}x" if ratio == ratio else "" for ratio in line["ratios"].values())
        rows.append([line["title"], *(_cell(line, column) for column in line["medians"]), *ratios])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(line: Line, column: str) -> str:
    """The median, and how far the rounds lie apart where that is more than a tenth of it."""
    median, (lowest, highest) = line["medians"][column], line["spread"][column]
    if median != median:
        return ""
    spread = f" ({report.figure(lowest)} to {report.figure(highest)})" if highest - lowest > median / 10 else ""
    return report.figure(median) + spread


def write(result: Result, root: Path) -> None:
    """Puts the figures of a run into the documents below `root`."""
    performance = root / "docs/performance.md"
    text = performance.read_text()
    for name, table in tables(result).items():
        text = fill(text, name, f"### {SITTINGS[name].title}\n\n{report.HOW_TO_READ}\n\n{table}")
    if result["rounds"].keys() >= IN_README.keys():
        for name, content in (("run", ran(result)), ("limited", limited(result)), ("columns", columns(result))):
            text = fill(text, name, content)
        (root / "docs/performance.svg").write_text(chart.svg(result))
        _write_readme(result, root / "README.md")
    performance.write_text(text)


def _write_readme(result: Result, readme: Path) -> None:
    text = fill(readme.read_text(), "run", ran(result))
    for name in IN_README:
        text = fill(text, name, short_table(result, name))
    readme.write_text(text)


if __name__ == "__main__":
    write(report.load(Path(sys.argv[1])), ROOT)
