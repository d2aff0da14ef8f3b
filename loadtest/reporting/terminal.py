"""The end of a run on the terminal."""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from loadtest.reporting.outcome import Outcome
from loadtest.reporting.tables import Bad, Good, Soft, Table, headline, tables

_STYLES: dict[type[str], str] = {Bad: "bold red", Good: "green", Soft: "dim"}


def show(console: Console, outcome: Outcome) -> None:
    """Prints the tables, then the verdicts, so that the last lines on the screen are what matters most."""
    for table in tables(outcome):
        _print(console, table)
    generator = outcome.result.generator
    lines = [Text(f"Note: {note}", "dim") for note in outcome.result.notes]
    lines.append(Text(f"Load generator: {generator.verdict}", "dim" if generator.healthy else "bold yellow"))
    lines.append(Text(headline(outcome), "bold"))
    lines += [Text(f"Not judged: {judgement}", "dim") for judgement in outcome.judgements if judgement.kept is None]
    if outcome.interrupted:
        lines.append(Text("The run was interrupted", "yellow"))
    lines += [Text.assemble(("Broken: ", "bold red"), str(judgement)) for judgement in outcome.broken]
    if not outcome.broken:
        kept = sum(judgement.kept is True for judgement in outcome.judgements)
        lines.append(Text(f"All {kept} limits kept" if kept else "No limits judged", "bold green"))
    for line in lines:
        console.print(line)


def _print(console: Console, table: Table) -> None:
    drawn = RichTable(show_header=bool(table.columns), box=None, pad_edge=False)
    for index, cell in enumerate(table.rows[0]):
        last = index == len(table.rows[0]) - 1
        left = not index or isinstance(cell, Soft) or (last and bool(table.columns) and not table.columns[-1])
        head = table.columns[index] if table.columns else ""
        drawn.add_column(head, justify="left" if left else "right", no_wrap=not (left and last))
    for row in table.rows:
        drawn.add_row(*(Text(str(cell), _STYLES.get(type(cell), "")) for cell in row))
    console.print(Text(table.title, "bold"))
    console.print(drawn)
    if table.note and table.title != "Load generator":  # its verdict follows below
        console.print(Text(table.note, "bold"))
    console.print()
