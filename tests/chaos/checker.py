"""The checker: what was lost, doubled, out of order or unanswered, from records alone. Pure.

What may be missing without a promise being broken:
- the end of what a killed or fenced process emitted under one token: its events are handled again, and each event must
  have been answered by a `down` of somebody
- what was under way on a connection when that connection broke, where the scenario breaks connections (`breaks`): what
  fell into the last `written_s` before the break, or before the fault that made it carry nothing (`silent_from`)
- a start of a handler, where the process was stopped between its last look at the lease and the handler's first line:
  one for each time that it stood still, at the moment when it goes on. What such a handler says is still refused
A second run of an event's handler, and a second disconnect, must say that it is a redelivery; and the first run was
that of a process in trouble.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.limits import Missed
from tests.chaos.records import Records, Run

SETTLED_US = 1_500_000
"""A client must hear the news that reach Redis at least this long after it was let in and before it leaves."""


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

    redelivered: int = 0  # a figure: second runs that say so
    answered_again: int = 0  # a figure: answers to events that were answered before
    connections_broken: int = 0  # a figure
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


BEGUN_US = 5_000
"""A handler that was about to begin when its process was stopped begins at most so long after the process goes on."""

COLUMNS = (
    "events_lost", "events_doubled", "events_reordered", "acks_missing", "emits_lost", "emits_doubled",
    "emits_reordered", "emits_stale", "connects_missing", "disconnects_missing", "disconnects_doubled", "overlaps",
)  # fmt: skip


def judge(records: Records, allowed: Allowed) -> Verdict:
    """Goes over the records once for each column."""
    verdict = Verdict(
        clients=len({joined.client for joined in records.joined}),
        events=len(records.sent) - len(records.refused),
        emits=len(records.seen) + len(records.heard),
        connections_broken=len(records.parted),
        reasons=dict(Counter(gone.reason for gone in records.disconnects)),
    )
    if records.sent:
        verdict.seconds = (records.sent[-1].at - records.sent[0].at) / 1e6
    until = {parted.sid: _heard_until(parted.at, allowed) for parted in records.parted}
    _leave_out_cut_starts(records, allowed)
    _events(verdict, records, allowed, until)
    _order(verdict, records)
    _overlaps(verdict, records, allowed)
    _downs(verdict, records, allowed, until)
    _news(verdict, records, allowed, until)
    _connections(verdict, records)
    _gaps(verdict, records)
    _aways(verdict, records)
    return verdict


def _heard_until(broke_at: int, allowed: Allowed) -> int:
    """The moment (µs) before which everything on that connection must have arrived."""
    silent = allowed.silent_from if 0 < allowed.silent_from < broke_at else broke_at
    return silent - int(allowed.written_s * 1e6)


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


def missed_limits(verdict: Verdict, allowed: Allowed) -> list[Missed]:
    """The times in which clients waited too long."""
    times = (
        ("gap: a client waited", verdict.gap_max_ms, allowed.gap_s * 1000),
        ("away: a client was away for", verdict.away_max_ms, allowed.away_s * 1000),
    )
    return [
        Missed(f"{what} {ms:.0f} ms, the limit is {limit_ms:.0f}", (ms - limit_ms) / 1000)
        for what, ms, limit_ms in times if ms > limit_ms
    ]  # fmt: skip


def _events(verdict: Verdict, records: Records, allowed: Allowed, until: Mapping[str, int]) -> None:
    """Each event that was sent has run: once, or again with the flag. It was acked, and not more often than it ran."""
    runs: dict[tuple[int, int], list[Run]] = defaultdict(list)
    for run in records.runs:
        runs[run.client, run.seq].append(run)
    for sent in records.sent:
        key = (sent.client, sent.seq)
        if key in records.refused:
            continue
        lost_with_redis = _in(sent.at, allowed.lossy)
        excused = lost_with_redis or _under_way(sent.sid, sent.at, allowed, until)
        of_this = runs.get(key, [])
        is_strict = sent.client < allowed.strict_below and not lost_with_redis
        if not of_this and (is_strict or not excused):
            verdict.count("events_lost", key)
        for number, run in enumerate(of_this[1:], 1):
            in_trouble = any(_in_trouble(former.process, former.start, allowed) for former in of_this[:number])
            if run.redelivered and (in_trouble or lost_with_redis or not allowed.redelivered):
                verdict.redelivered += 1
            elif not lost_with_redis:  # the retry of an append to a Redis that has forgotten the first
                verdict.count("events_doubled", (key, "redelivered" if run.redelivered else "not flagged"))
        acks = records.acks[key]
        verdict.answered_again += max(0, acks - 1)
        if not acks and not excused:
            verdict.count("acks_missing", key)
        if acks > max(1, len(of_this)) and not lost_with_redis:
            verdict.count("emits_doubled", ("ack", key))


def _leave_out_cut_starts(records: Records, allowed: Allowed) -> None:
    """Takes out, for each process that stood still, the first handler that began under a token that was stale by
    then, if that was at the moment when the process went on."""
    newest: dict[str, int] = {}
    cut: set[int] = set()  # processes
    kept = []
    for run in records.runs:
        resumed = allowed.resumed.get(run.process, 1 << 62)
        is_stale = 0 < run.token < newest.get(run.sid, 0)
        if is_stale and run.process not in cut and resumed <= run.start <= resumed + BEGUN_US:
            cut.add(run.process)
            continue
        newest[run.sid] = max(run.token, newest.get(run.sid, 0))
        kept.append(run)
    records.runs[:] = kept


def _under_way(sid: str, at: int, allowed: Allowed, until: Mapping[str, int]) -> bool:
    """Whether that was in flight when the connection broke, in a scenario that breaks connections."""
    return allowed.breaks and sid in until and at >= until[sid]


def _in_trouble(process: int, at: int, allowed: Allowed) -> bool:
    """Whether a fault may have hit the process before its work of that moment was in Redis."""
    since, to = allowed.crashed.get(process, (1 << 62, 0))
    return since - REPEATED_US <= at <= to


def _order(verdict: Verdict, records: Records) -> None:
    """Handlers start in order: the first runs of a client's events, and all runs under one fencing token."""
    newest: dict[str, int] = {}
    under: dict[tuple[str, int], int] = {}
    started: set[tuple[int, int]] = set()
    for run in records.runs:
        if (run.client, run.seq) not in started:
            started.add((run.client, run.seq))
            if run.seq < newest.get(run.sid, -1):
                verdict.count("events_reordered", (run.client, run.seq))
            newest[run.sid] = max(run.seq, newest.get(run.sid, -1))
        elif run.seq < under.get((run.sid, run.token), -1):
            verdict.count("events_reordered", (run.client, run.seq, run.token))
        under[run.sid, run.token] = max(run.seq, under.get((run.sid, run.token), -1))


def _overlaps(verdict: Verdict, records: Records, allowed: Allowed) -> None:
    """No handler starts under an older token than one before it. Two processes never work for one client at a time.

    A lane and its quarantine count their tokens each by itself.
    """
    tokens: dict[tuple[str, bool], int] = {}
    busy: dict[str, tuple[int, int]] = {}  # sid -> (end of the run that lasts longest, its process)
    for run in records.runs:
        of, token = (run.sid, run.token < 0), abs(run.token)
        if _in(run.start, allowed.lossy):  # tokens begin anew
            tokens[of] = 0
        if token < tokens.get(of, 0):
            verdict.count("overlaps", ("stale start", run))
        tokens[of] = max(token, tokens.get(of, 0))
        if not run.end:
            continue
        end, process = busy.get(run.sid, (0, 0))
        if process not in (0, run.process) and run.start < end:
            verdict.count("overlaps", ("two at work", run))
        if run.end > end:
            busy[run.sid] = (run.end, run.process)


def _downs(verdict: Verdict, records: Records, allowed: Allowed, until: Mapping[str, int]) -> None:
    """For each sid, process and token, `down` numbers arrive in order, each once, up to the last."""
    arrived: dict[tuple[str, int, int], set[int]] = defaultdict(set)
    newest: dict[tuple[str, int, int], int] = {}
    tokens: dict[tuple[str, bool], int] = {}
    echoed = set()
    for seen in records.seen:
        key = (seen.sid, seen.origin, seen.token)
        echoed.add((seen.client, seen.seq))
        if seen.n in arrived[key]:
            verdict.count("emits_doubled", (key, seen.n))
            continue
        arrived[key].add(seen.n)
        if seen.n < newest.get(key, 0):
            verdict.count("emits_reordered", (key, seen.n))
        newest[key] = max(seen.n, newest.get(key, 0))
        of, token = (seen.sid, seen.token < 0), abs(seen.token)
        if _in(seen.at, allowed.lossy):
            tokens[of] = 0
        if token < tokens.get(of, 0):
            verdict.count("emits_stale", (key, seen.n))
        tokens[of] = max(token, tokens.get(of, 0))
    missing = set()
    for made in records.made:
        key = (made.sid, made.process, made.token)
        if made.n in arrived[key]:
            continue
        if _in(made.at, allowed.lossy):
            continue
        may_lack_its_end = _in_trouble(made.process, made.at, allowed) or _under_way(made.sid, made.at, allowed, until)
        if made.n < newest.get(key, 0) or not may_lack_its_end:
            missing.add((made.client, made.seq))
    for run in records.runs:
        excused = _under_way(run.sid, run.start, allowed, until) or _in(run.start, allowed.lossy)
        if (run.client, run.seq) not in echoed and not excused:
            missing.add((run.client, run.seq))
    for event in sorted(missing):
        verdict.count("emits_lost", event)


def _news(verdict: Verdict, records: Records, allowed: Allowed, until: Mapping[str, int]) -> None:
    """For each sid and process, news arrive in order, each once. Who was there all the time heard all that reached
    Redis."""
    arrived: dict[tuple[str, int], set[int]] = defaultdict(set)
    newest: dict[tuple[str, int], int] = {}
    for heard in records.heard:
        key = (heard.sid, heard.origin)
        if heard.n in arrived[key]:
            verdict.count("emits_doubled", ("news", key, heard.n))
            continue
        arrived[key].add(heard.n)
        if heard.n < newest.get(key, 0):
            verdict.count("emits_reordered", ("news", key, heard.n))
        newest[key] = max(heard.n, newest.get(key, 0))
    for joined in records.joined:
        gone_at = min(records.left.get(joined.sid, 1 << 62), until.get(joined.sid, 1 << 62))
        first, last = joined.at + SETTLED_US, gone_at - SETTLED_US
        for news in records.news:
            if (
                first < news.at < last
                and not _in(news.at, allowed.lossy)
                and news.n not in arrived[joined.sid, news.process]
            ):
                verdict.count("emits_lost", ("news", joined.sid, news.process, news.n))


def _connections(verdict: Verdict, records: Records) -> None:
    """Each client that was let in has one connect that is neither again nor redelivered, and exactly one disconnect."""
    gone = Counter(lost.sid for lost in records.disconnects if not lost.redelivered)
    flagged = Counter(lost.sid for lost in records.disconnects if lost.redelivered)
    connected = {connect.sid for connect in records.connects}
    for joined in records.joined:
        if joined.sid not in connected:
            verdict.count("connects_missing", joined.sid)
        if not gone[joined.sid] and not flagged[joined.sid]:
            verdict.count("disconnects_missing", joined.sid)
        if gone[joined.sid] > 1:
            verdict.count("disconnects_doubled", joined.sid)
        if gone[joined.sid] + flagged[joined.sid] > 1:
            verdict.redelivered += 1
    fresh = Counter(connect.sid for connect in records.connects if not connect.again and not connect.redelivered)
    for sid, times in fresh.items():
        if times > 1:
            verdict.count("events_doubled", ("connect", sid))


def _gaps(verdict: Verdict, records: Records) -> None:
    """The longest time for which each client waited for an answer."""
    longest: dict[int, int] = {}
    for _, client, waited in waits(records):
        longest[client] = max(waited, longest.get(client, 0))
    if longest:
        verdict.gap_p50_ms = statistics.median(longest.values()) / 1000
        verdict.gap_max_ms = max(longest.values()) / 1000


def _aways(verdict: Verdict, records: Records) -> None:
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


def _in(at: int, window: tuple[int, int]) -> bool:
    return window[0] <= at <= window[1]
