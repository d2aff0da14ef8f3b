"""Limits of time. They are missed by a fault of the cluster, or by a machine that is busy with other work.

A scenario that misses one by less than double, and keeps everything else, is tried once more, in full, while no other
scenario runs, and says so. A lease that ran out without a fault counts as such a limit. It fails if the second try
misses a limit too. What was lost, doubled or reordered fails at once.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

HOPELESS = 2.0
"""No busy machine excuses a time of twice its limit, nor a load of half of what was asked."""


@dataclass(frozen=True)
class Missed:
    """A limit that was not kept. `times`: the figure is that many times the limit."""

    what: str
    times: float

    def __str__(self) -> str:
        return self.what


class TooSlow(AssertionError):
    """Limits of time were missed, none of them by far, and nothing else is wrong."""


def check(title: str, problems: Sequence[str], missed: Sequence[Missed]) -> None:
    """Raises AssertionError with all of these; TooSlow if a second try may show that the machine was busy."""
    if problems or missed:
        error = AssertionError if problems or any(one.times >= HOPELESS for one in missed) else TooSlow
        raise error(f"{title}:\n" + "\n".join([*problems, *map(str, missed)]))


def tried_again(
    scenario: Callable[P, Awaitable[None]], on_slow: Callable[[TooSlow], Awaitable[None]]
) -> Callable[P, Awaitable[None]]:
    """The scenario, with a second try after one that was too slow. `on_slow` is told why, and waited for in between."""

    @wraps(scenario)
    async def run(*args: P.args, **keywords: P.kwargs) -> None:
        try:
            await scenario(*args, **keywords)
        except TooSlow as slow:
            await on_slow(slow)
            await scenario(*args, **keywords)

    return run
