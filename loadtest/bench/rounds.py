"""The rounds: in each, every target of every sitting in turn."""

from collections.abc import Callable, Sequence

from loadtest.bench.plan import SITTINGS, Figures
from loadtest.bench.sizes import Sizes

Measured = dict[str, dict[str, list[Figures]]]
"""By sitting and column: the figures of each round."""


async def run(
    sittings: Sequence[str], columns: set[str], sizes: Sizes, rounds: int, tell: Callable[[str], object]
) -> Measured:
    """Measures these sittings; of each, the `columns` that it has. `tell` gets a line for each target before it is
    measured."""
    wanted = {
        name: {column: start for column, start in SITTINGS[name].columns.items() if column in columns}
        for name in sittings
    }
    wanted = {name: its for name, its in wanted.items() if its}
    measured: Measured = {name: {column: [] for column in its} for name, its in wanted.items()}
    for number in range(rounds):
        for name, its in wanted.items():
            for column, start in its.items():
                tell(f"round {number + 1} of {rounds}: {SITTINGS[name].title}: {column}")
                async with start() as target:
                    measured[name][column].append(await SITTINGS[name].measure(target, sizes))
    return measured
