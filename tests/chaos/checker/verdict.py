"""What was found: counts of faults, and the times for which clients waited."""

from dataclasses import dataclass, field

from tests.chaos.checker.allowed import Allowed
from tests.chaos.limits import Missed

COLUMNS = (
    "events_lost", "events_doubled", "events_reordered", "acks_missing", "emits_lost", "emits_doubled",
    "emits_reordered", "emits_stale", "connects_missing", "disconnects_missing", "disconnects_doubled", "overlaps",
    "sessions_lost", "lives_reordered",
)  # fmt: skip


@dataclass
class Verdict:
    """Counts of faults, which should all be 0, and figures. `examples` shows the first five of each fault."""

    clients: int = 0
    events: int = 0
    emits: int = 0
    seconds: float = 0.0

    events_lost: int = 0
    events_doubled: int = 0
    events_reordered: int = 0
    acks_missing: int = 0
    emits_lost: int = 0
    emits_doubled: int = 0
    emits_reordered: int = 0
    emits_stale: int = 0
    connects_missing: int = 0
    disconnects_missing: int = 0
    disconnects_doubled: int = 0
    overlaps: int = 0
    sessions_lost: int = 0
    lives_reordered: int = 0

    redelivered: int = 0  # a figure: second runs that say so
    answered_again: int = 0  # a figure: answers to events that were answered before
    connections_broken: int = 0  # a figure
    given_back: int = 0  # a figure: connections with which a client got its session back
    gap_p50_ms: float = 0.0
    gap_max_ms: float = 0.0
    away_max_ms: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def count(self, column: str, what: object) -> None:
        """Counts one more fault in that column."""
        setattr(self, column, getattr(self, column) + 1)
        shown = self.examples.setdefault(column, [])
        if len(shown) < 5:
            shown.append(str(what))


def broken_promises(verdict: Verdict, allowed: Allowed) -> list[str]:
    """One line for each promise that does not hold."""
    found = [f"{column}: {getattr(verdict, column)}, as {verdict.examples[column]}"
             for column in COLUMNS if getattr(verdict, column)]  # fmt: skip
    if verdict.connections_broken and not allowed.breaks:
        found.append(f"connections_broken: {verdict.connections_broken}")
    if not verdict.events or not verdict.emits:
        found.append("nothing was sent")
    return found


def needless_repetitions(verdict: Verdict, allowed: Allowed) -> str:
    """A line where events were handled again, and the scenario has no fault that explains it. "" where not."""
    if allowed.redelivered or not verdict.redelivered:
        return ""
    return f"redelivered: {verdict.redelivered}, though nothing crashed"


def missed_limits(verdict: Verdict, allowed: Allowed) -> list[Missed]:
    """The times in which clients waited too long, even for a process that was as late as this one."""
    times = (
        ("gap: a client waited", verdict.gap_max_ms, allowed.gap_s * 1000),
        ("away: a client was away for", verdict.away_max_ms, allowed.away_s * 1000),
    )
    return [
        Missed(f"{what} {ms:.0f} ms, the limit is {limit_ms:.0f}", (ms - limit_ms) / 1000)
        for what, ms, limit_ms in times if ms > limit_ms + allowed.late_s * 1000
    ]  # fmt: skip
