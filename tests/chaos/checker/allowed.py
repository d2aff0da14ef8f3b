"""What the fault of a scenario excuses."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

REPEATED_US = 2_000_000
"""What a process did at least this long before a fault is safe in Redis: a lease has 1.5 s."""


@dataclass(frozen=True)
class Allowed:
    """What a scenario's fault excuses.

    `crashed` maps processes that were killed with -9, or may have lost their leases, to the time (from, to) of their
    trouble.
    """

    crashed: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    redelivered: bool = False
    breaks: bool = False
    silent_from: int = 0  # since then connections that broke later may have carried nothing
    resumed: Mapping[int, int] = field(default_factory=dict)  # processes that stood still -> when they went on
    strict_below: int = 0  # clients of lower numbers lose nothing that was sent while their connection was there
    lossy: tuple[int, int] = (0, 0)  # from, to: what fell into this time may be lost (a Redis without its data)
    written_s: float = 1.0  # what was sent or emitted at least so long before a connection broke has arrived
    gap_s: float = 60.0
    away_s: float = 3.0
    late_s: float = 0.0  # by how much this process was late itself: what it measures may be longer by that


def with_lost_leases(
    crashed: Mapping[int, tuple[int, int]], lost: Iterable[tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """`Allowed.crashed`, and the processes that lost a lease without a fault, since the machine was busy.

    `lost`: when, and by which process.
    """
    known = dict(crashed)
    for at, process in lost:
        since, to = known.get(process, (at + 1, at))
        if not since <= at <= to + REPEATED_US:
            known[process] = (min(since, at), max(to, at))
    return known


def heard_until(broke_at: int, allowed: Allowed) -> int:
    """The moment (µs) before which everything on that connection must have arrived."""
    silent = allowed.silent_from if 0 < allowed.silent_from < broke_at else broke_at
    return silent - int(allowed.written_s * 1e6)


def in_trouble(process: int, at: int, allowed: Allowed) -> bool:
    """Whether a fault may have hit the process before its work of that moment was in Redis."""
    since, to = allowed.crashed.get(process, (1 << 62, 0))
    return since - REPEATED_US <= at <= to


def is_in(at: int, window: tuple[int, int]) -> bool:
    """Whether this moment (µs) is in the window."""
    return window[0] <= at <= window[1]
