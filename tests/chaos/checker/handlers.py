"""What handlers did: each event once, in order, in one process at a time; one connect and one disconnect each."""

from collections import Counter, defaultdict

from tests.chaos.checker.allowed import Allowed, in_trouble, is_in
from tests.chaos.checker.connections import Breaks
from tests.chaos.checker.verdict import Verdict
from tests.chaos.records import Joined, Records, Run
from tests.chaos.streams import TURNS

BEGUN_US = 5_000
"""A handler that was about to begin when its process was stopped begins at most so long after the process goes on."""


def leave_out_cut_starts(records: Records, allowed: Allowed) -> None:
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


def check_events(verdict: Verdict, records: Records, allowed: Allowed, breaks: Breaks) -> None:
    """Each event that was sent has run: once, or again with the flag. It was acked, and not more often than it ran."""
    runs: dict[tuple[int, int], list[Run]] = defaultdict(list)
    for run in records.runs:
        runs[run.client, run.seq].append(run)
    for sent in records.sent:
        key = (sent.client, sent.seq)
        if key in records.refused:
            continue
        lost_with_redis = is_in(sent.at, allowed.lossy)
        excused = lost_with_redis or breaks.was_under_way(sent.sid, sent.at)
        of_this = runs.get(key, [])
        is_strict = sent.client < allowed.strict_below and not lost_with_redis
        if not of_this and (is_strict or not excused):
            verdict.count("events_lost", key)
        for number, run in enumerate(of_this[1:], 1):
            was_in_trouble = any(in_trouble(former.process, former.start, allowed) for former in of_this[:number])
            if run.redelivered and (was_in_trouble or lost_with_redis or not allowed.redelivered):
                verdict.redelivered += 1
            elif not lost_with_redis:  # the retry of an append to a Redis that has forgotten the first
                verdict.count("events_doubled", (key, "redelivered" if run.redelivered else "not flagged"))
        acks = records.acks[key]
        verdict.answered_again += max(0, acks - 1)
        if not acks and not excused:
            verdict.count("acks_missing", key)
        if acks > max(1, len(of_this)) and not lost_with_redis:
            verdict.count("emits_doubled", ("ack", key))


def check_order(verdict: Verdict, records: Records) -> None:
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


def check_overlaps(verdict: Verdict, records: Records, allowed: Allowed) -> None:
    """No handler starts under an older token than one before it. Two processes never work for one client at a time.

    A lane and its quarantine count their tokens each by itself.
    """
    tokens: dict[tuple[str, bool], int] = {}
    busy: dict[str, tuple[int, int]] = {}  # sid -> (end of the run that lasts longest, its process)
    for run in records.runs:
        of, token = (run.sid, run.token < 0), abs(run.token)
        if is_in(run.start, allowed.lossy):  # tokens begin anew
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


def check_connections(verdict: Verdict, records: Records) -> None:
    """Each time that a client was let in, it has one connect that is neither again nor redelivered, and exactly one
    disconnect."""
    told = Counter(connect.sid for connect in records.connects)
    lives = Counter(connect.sid for connect in records.connects if not connect.again)
    begun = Counter(connect.sid for connect in records.connects if not connect.again and not connect.redelivered)
    gone = Counter(lost.sid for lost in records.disconnects if not lost.redelivered)
    flagged = Counter(lost.sid for lost in records.disconnects if lost.redelivered)
    for sid, times in Counter(joined.sid for joined in records.joined).items():
        for _ in range(times - told[sid]):
            verdict.count("connects_missing", sid)
        for _ in range(times - gone[sid] - flagged[sid]):
            verdict.count("disconnects_missing", sid)
        if gone[sid] > max(times, lives[sid]):
            verdict.count("disconnects_doubled", sid)
        verdict.redelivered += max(0, min(flagged[sid], gone[sid] + flagged[sid] - max(1, begun[sid])))
    fresh = Counter(
        connect.sid
        for connect in records.connects
        if not connect.again and not connect.redelivered and not connect.recovered
    )
    for sid, times in fresh.items():
        if times > 1:
            verdict.count("events_doubled", ("connect", sid))


def check_returns(verdict: Verdict, records: Records, allowed: Allowed) -> None:
    """A client whose connection broke gets its session back, if it can claim it. Connects and disconnects of such a
    session take turns."""
    former: dict[int, Joined] = {}
    broken = {parted.sid for parted in records.parted}
    for joined in sorted(records.joined):
        before = former.get(joined.client)
        former[joined.client] = joined
        if before is None or not before.pid or joined.recovered or is_in(joined.at, allowed.lossy):
            continue
        if before.sid in broken:
            verdict.count("sessions_lost", (joined.client, before.sid, joined.sid))
    life: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for connect in records.connects:
        if not connect.again:
            life[connect.sid].append((connect.at, "C" if connect.redelivered else "c"))
    for gone in records.disconnects:
        life[gone.sid].append((gone.at, "D" if gone.redelivered else "d"))
    for sid in {joined.sid for joined in records.joined if joined.recovered}:
        letters = "".join(letter for _, letter in sorted(life[sid]))
        if not TURNS["now"].fullmatch(letters):
            verdict.count("lives_reordered", (sid, letters))
