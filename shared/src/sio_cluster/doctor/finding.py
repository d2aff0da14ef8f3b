"""What one check found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.markup import escape
from rich.table import Table

State = Literal["ok", "warning", "problem", "not known"]

_COLOURS: dict[State, str] = {"ok": "green", "warning": "yellow", "problem": "bold red", "not known": "dim"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`state`: "problem": something fails, or data may be lost. "warning": it works, with a risk. "not known": Redis
    does not say, mostly since its user may not ask."""

    check: str
    state: State
    says: str
    """What is so, and what follows from it."""
    do: str = ""
    """What to do about it. "" where there is nothing to do."""


def has_problem(findings: Sequence[Finding]) -> bool:
    return any(finding.state == "problem" for finding in findings)


def table_of(findings: Sequence[Finding]) -> Table:
    """For people: one row for each finding."""
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        advice = f"\n[bold]do:[/bold] {escape(finding.do)}" if finding.do else ""
        state = f"[{_COLOURS[finding.state]}]{finding.state}[/]"
        table.add_row(state, escape(finding.check), escape(finding.says) + advice)
    return table


def line_of(finding: Finding) -> str:
    """For a pipe: one line, whatever its length."""
    advice = f". Do: {finding.do}" if finding.do else ""
    return f"{finding.state:9}  {finding.check}: {finding.says}{advice}"
