"""The checker: what was lost, doubled, out of order or unanswered, from records alone. Pure.

What may be missing without a promise being broken:
- the end of what a killed or fenced process emitted under one token: its events are handled again, and each event must
  have been answered by a `down` of somebody
- what was under way on a connection when that connection broke, where the scenario breaks connections (`breaks`): what
  fell into the last `written_s` before the break, or before the fault that made it carry nothing (`silent_from`). For a
  client that came back with its session, that is only what it sent itself
- a start of a handler, where the process was stopped between its last look at the lease and the handler's first line:
  one for each time that it stood still, at the moment when it goes on. What such a handler says is still refused
A second run of an event's handler, and a second disconnect, must say that it is a redelivery; and the first run was
that of a process in trouble. A client that can claim its session back gets it back each time.
"""

from collections import Counter

from tests.chaos.checker.allowed import REPEATED_US, Allowed, with_lost_leases
from tests.chaos.checker.connections import Breaks
from tests.chaos.checker.emits import check_downs, check_news
from tests.chaos.checker.handlers import (
    BEGUN_US,
    check_connections,
    check_events,
    check_order,
    check_overlaps,
    check_returns,
    leave_out_cut_starts,
)
from tests.chaos.checker.questions import Asked, check_answers
from tests.chaos.checker.verdict import COLUMNS, Verdict, broken_promises, missed_limits, needless_repetitions
from tests.chaos.checker.waiting import measure_aways, measure_gaps, waits
from tests.chaos.records import Records

__all__ = [
    "BEGUN_US", "COLUMNS", "REPEATED_US", "Allowed", "Asked", "Verdict", "broken_promises", "check_answers", "judge",
    "missed_limits", "needless_repetitions", "waits", "with_lost_leases",
]  # fmt: skip


def judge(records: Records, allowed: Allowed) -> Verdict:
    """Goes over the records once for each column."""
    verdict = Verdict(
        clients=len({joined.client for joined in records.joined}),
        events=len(records.sent) - len(records.refused),
        emits=len(records.seen) + len(records.heard),
        connections_broken=len(records.parted),
        given_back=sum(joined.recovered for joined in records.joined),
        reasons=dict(Counter(gone.reason for gone in records.disconnects)),
    )
    if records.sent:
        verdict.seconds = (records.sent[-1].at - records.sent[0].at) / 1e6
    breaks = Breaks(records, allowed)
    leave_out_cut_starts(records, allowed)
    check_events(verdict, records, allowed, breaks)
    check_order(verdict, records)
    check_overlaps(verdict, records, allowed)
    check_downs(verdict, records, allowed, breaks)
    check_news(verdict, records, allowed, breaks)
    check_connections(verdict, records)
    check_returns(verdict, records, allowed)
    measure_gaps(verdict, records)
    measure_aways(verdict, records)
    return verdict
