"""How long clients waited for answers, and were away."""

import statistics
from bisect import bisect_right
from collections import defaultdict

from tests.chaos.checker.verdict import Verdict
from tests.chaos.records import Records

FOREVER = 1 << 62


def measure_gaps(verdict: Verdict, records: Records) -> None:
    """The longest time for which each client waited for an answer."""
    longest: dict[int, int] = {}
    for _, client, waited in waits(records):
        longest[client] = max(waited, longest.get(client, 0))
    if longest:
        verdict.gap_p50_ms = statistics.median(longest.values()) / 1000
        verdict.gap_max_ms = max(longest.values()) / 1000


def measure_aways(verdict: Verdict, records: Records) -> None:
    """The longest time that a client was away.

    It lasts from the break, or from the first unanswered event before it, to the first answer on the next
    connection. A client that never came back was away to the end.
    """
    end = max([sent.at for sent in records.sent] + [joined.at for joined in records.joined], default=0)
    stays: dict[int, list[int]] = defaultdict(list)  # client -> when it was let in
    for joined in records.joined:
        stays[joined.client].append(joined.at)
    unanswered: dict[tuple[int, int], int] = {}  # (client, its stay) -> when it sent the first event without an answer
    answered: dict[tuple[int, int], int] = {}  # the same -> when the first answer came
    for sent in records.sent:
        key, stay = (sent.client, sent.seq), (sent.client, bisect_right(stays[sent.client], sent.at))
        if key in records.acked:
            answered[stay] = min(records.acked[key], answered.get(stay, FOREVER))
        elif key not in records.refused:
            unanswered[stay] = min(sent.at, unanswered.get(stay, FOREVER))
    for parted in records.parted:
        number = bisect_right(stays[parted.client], parted.at)
        back_at = stays[parted.client][number] if number < len(stays[parted.client]) else end
        to = max(back_at, answered.get((parted.client, number + 1), 0))
        away = to - min(parted.at, unanswered.get((parted.client, number), FOREVER))
        verdict.away_max_ms = max(verdict.away_max_ms, away / 1000)


def waits(records: Records) -> list[tuple[int, int, int]]:
    """(when sent, client, µs until the ack) of each acked event."""
    found = []
    for sent in records.sent:
        acked = records.acked.get((sent.client, sent.seq))
        if acked is not None:
            found.append((sent.at, sent.client, acked - sent.at))
    return found
