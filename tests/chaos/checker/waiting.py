"""How long clients waited for answers, and were away."""

import statistics
from collections import defaultdict

from tests.chaos.checker.verdict import Verdict
from tests.chaos.records import Records


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
    times = [sent.at for sent in records.sent] + [joined.at for joined in records.joined]
    unanswered: dict[str, int] = {}
    answered: dict[str, int] = {}
    for sent in records.sent:
        key = (sent.client, sent.seq)
        if key in records.acked:
            answered[sent.sid] = min(records.acked[key], answered.get(sent.sid, 1 << 62))
        elif key not in records.refused:
            unanswered[sent.sid] = min(sent.at, unanswered.get(sent.sid, 1 << 62))
    stays: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for joined in records.joined:
        stays[joined.client].append((joined.at, joined.sid))
    for parted in records.parted:
        back = min((stay for stay in stays[parted.client] if stay[0] > parted.at), default=(max(times), ""))
        to = max(back[0], answered.get(back[1], 0))
        away = to - min(parted.at, unanswered.get(parted.sid, 1 << 62))
        verdict.away_max_ms = max(verdict.away_max_ms, away / 1000)


def waits(records: Records) -> list[tuple[int, int, int]]:
    """(when sent, client, µs until the ack) of each acked event."""
    found = []
    for sent in records.sent:
        acked = records.acked.get((sent.client, sent.seq))
        if acked is not None:
            found.append((sent.at, sent.client, acked - sent.at))
    return found
