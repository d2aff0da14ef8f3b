"""The table of settings in README.md.

`python -m sio_cluster.node.settings.table README.md` writes it anew between its marks.
"""

import sys
from pathlib import Path

from sio_cluster.node.settings.declared import ReadBy, Settings

BEGIN = "<!-- settings: begin (a test compares this table with the code) -->"
END = "<!-- settings: end -->"


def settings_table() -> str:
    """Every setting with its default, the kind of node that reads it, and its meaning, as a Markdown table."""
    rows = ["| setting | default | read by | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = ",".join(default) if isinstance(default, tuple) else "" if default is None else str(default)
        code = f"`{shown}`" if shown else ""
        rows.append(f"| `{name.upper()}` | {code} | {read_by(name)} | {field.description} |")
    return "\n".join(rows)


def read_by(name: str) -> str:
    """Which kind of node reads this setting: `io`, `app`, `bridge`, or `both` of the first two."""
    marks = [mark.value for mark in Settings.model_fields[name].metadata if isinstance(mark, ReadBy)]
    return marks[0] if marks else "both"


def with_table(page: str) -> str:
    """The page with its table brought up to date. Raises ValueError where the page has no marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError("the page has no marks for the table of settings")
    return f"{before}{BEGIN}\n\n{settings_table()}\n\n{END}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text()))
