"""What suites of scenarios have in common (tests/chaos, tests/upgrade): the seed, a second try, a line for each
scenario as soon as it is over, and tables of all at the end.

Two scenarios run at a time (pytest-xdist): a worker writes its scenario's file, the main process reads and shows it.
A conftest.py imports the fixtures, and calls `show_scenarios`.
"""

import json
import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests import machine
from tests.chaos.cluster import RESULTS, written
from tests.chaos.limits import TooSlow, tried_again
from tests.chaos.results import figures, quotable, tables
from tests.warm import NODES, forked

SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
os.environ["CHAOS_SEED"] = str(SEED)  # the workers, which start later, take the same

MARKS = ("chaos", "upgrade")
TRIED = "the file of a scenario that this test has brought to an end"
TOO_SLOW = "why it was tried once more"


@pytest.fixture
def seed() -> int:
    """CHAOS_SEED, or a random number. It is printed; given again, it repeats the choices of a run."""
    with forked(*NODES):  # no event loop has to wait for it then
        return SEED


@pytest.fixture(autouse=True)
def result(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tells the main process which files this test wrote."""
    written.clear()
    yield
    request.node.user_properties.extend((TRIED, str(path)) for path in dict.fromkeys(written))


def show_scenarios(config: pytest.Config) -> None:
    """Gives scenarios their second try, and shows them. Once for a run, whichever suites it has."""
    if not config.pluginmanager.has_plugin("scenarios"):
        config.pluginmanager.register(Scenarios(), "scenarios")


class Scenarios:
    """A plugin of pytest."""

    def __init__(self) -> None:
        self._tried: list[Path] = []
        self._tried_again: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """A scenario that is too slow has a second try alone, and three times the time: the other one has to end
        first."""
        for item in items:
            if isinstance(item, pytest.Function) and any(map(item.get_closest_marker, MARKS)):
                if limit := item.get_closest_marker("timeout"):
                    item.add_marker(pytest.mark.timeout(3 * float(limit.args[0])), append=False)
                item.obj = tried_again(item.obj, partial(_make_room, item))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown" or "PYTEST_XDIST_WORKER" in os.environ:
            return
        for name, value in report.user_properties:
            if name == TOO_SLOW:
                self._tried_again.append(f"{report.nodeid.partition('::')[2]}: {value}")
                print(f"\ntried once more, alone, since it was too slow: {self._tried_again[-1]}", flush=True)
            if name == TRIED:
                self._tried.append(Path(str(value)))
                row = json.loads(self._tried[-1].read_text())
                print(f"\n{row['scenario']}: {figures(row)}", flush=True)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self._tried:
            return
        rows = sorted((json.loads(path.read_text()) for path in self._tried), key=lambda row: str(row["scenario"]))
        (RESULTS / "table.md").write_text(quotable(rows, "load"))
        (RESULTS / "recovery.md").write_text(quotable(rows, "recovery"))
        terminalreporter.write_line("\n" + tables(rows, SEED))
        for why in self._tried_again:
            terminalreporter.write_line(f"Tried once more, alone, since it was too slow: {why}")


async def _make_room(item: pytest.Item, slow: TooSlow) -> None:
    item.user_properties.append((TOO_SLOW, str(slow)))
    await machine.taken_alone_from_now()
