"""`python -m observe`: writes the dashboards into observe/grafana/dashboards."""

import json
from pathlib import Path

from observe.boards import BOARDS
from observe.dashboard import Dashboard, render

FOLDER = Path(__file__).parent / "grafana/dashboards"


def files() -> dict[str, str]:
    """The name of each file, and what is in it."""
    return {f"{board.uid}.json": text_of(board) for board in BOARDS}


def text_of(board: Dashboard) -> str:
    """Always the same for the same dashboard, so that a change shows in the history of the file."""
    return json.dumps(render(board), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for file in FOLDER.glob("*.json"):
        if file.name not in wanted:
            file.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
