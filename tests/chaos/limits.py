"""Limits of time. They are missed by a fault of the cluster, or by a machine that is busy with other work.

A limit grants clients as much as the test's own loop was late: the process that measures does not notice an answer
before that, and the nodes share its processors.

A scenario that misses one, and keeps everything else, is tried once more, in full, while no other scenario runs, and
says so, with what the machine, Redis and the nodes did meanwhile (`tests.chaos.evidence`). A lease that ran out without
a fault counts as such a limit. It fails if the second try misses a limit too. What was lost, doubled or reordered fails
at once, and so does a time of HOPELESS_S and more over its limit.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

HOPELESS_S = 15.0
"""Two scenarios on a machine that others use, too, may need seconds for what is a moment. Nothing excuses more."""


@dataclass(frozen=True)
class Missed:
    """A limit that was not kept. `over_s`: by how much, where it is one of time."""

    what: str
    over_s: float = 0.0

    def __str__(self) -> str:
        return self.what


class TooSlow(AssertionError):
    """Limits of time were missed, none of them by far, and nothing else is wrong."""


def check(title: str, problems: Sequence[str], missed: Sequence[Missed], told: Sequence[str] = ()) -> None:
    """Raises AssertionError with all of these; TooSlow if a second try may show that the machine was busy.

    `told`: what is known of why.
    """
    if problems or missed:
        error = AssertionError if problems or any(one.over_s >= HOPELESS_S for one in missed) else TooSlow
        raise error(f"{title}:\n" + "\n".join([*problems, *map(str, missed), *told]))


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
