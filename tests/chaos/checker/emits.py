"""What clients got: all that was emitted to them, once, in order."""

from collections import defaultdict

from tests.chaos.checker.allowed import Allowed, in_trouble, is_in
from tests.chaos.checker.connections import NEVER, Breaks
from tests.chaos.checker.verdict import Verdict
from tests.chaos.records import Records

SETTLED_US = 1_500_000
"""A client must hear the news that reach Redis at least this long after it was let in and before it leaves."""


def check_downs(verdict: Verdict, records: Records, allowed: Allowed, breaks: Breaks) -> None:
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
        if is_in(seen.at, allowed.lossy):
            tokens[of] = 0
        if token < tokens.get(of, 0):
            verdict.count("emits_stale", (key, seen.n))
        tokens[of] = max(token, tokens.get(of, 0))
    missing = set()
    for made in records.made:
        key = (made.sid, made.process, made.token)
        if made.n in arrived[key]:
            continue
        if is_in(made.at, allowed.lossy):
            continue
        may_lack_its_end = in_trouble(made.process, made.at, allowed) or breaks.may_miss(made.sid, made.at)
        if made.n < newest.get(key, 0) or not may_lack_its_end:
            missing.add((made.client, made.seq))
    for run in records.runs:
        excused = breaks.may_miss(run.sid, run.start) or is_in(run.start, allowed.lossy)
        if (run.client, run.seq) not in echoed and not excused:
            missing.add((run.client, run.seq))
    for event in sorted(missing):
        verdict.count("emits_lost", event)


def check_news(verdict: Verdict, records: Records, allowed: Allowed, breaks: Breaks) -> None:
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
        if joined.recovered:
            continue  # it was to miss nothing since it was let in first
        gone_at = min(records.left.get(joined.sid, NEVER), breaks.heard_until(joined.sid))
        first, last = joined.at + SETTLED_US, gone_at - SETTLED_US
        for news in records.news:
            if (
                first < news.at < last
                and not is_in(news.at, allowed.lossy)
                and news.n not in arrived[joined.sid, news.process]
            ):
                verdict.count("emits_lost", ("news", joined.sid, news.process, news.n))
