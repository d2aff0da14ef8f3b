"""What app-nodes were told of who is connected, and who in which room, against what handlers and clients wrote down.

A client counts from when its connect handler has ended and its output is in Redis, until its disconnect is in its
record (docs/server.md). So an answer must have everybody who was let in some time before the question and whose
disconnect handler had not begun when the answer came. It may have everybody whose connect handler had begun by then,
until some time after their disconnect handler; a client that comes back may count or not while it is away.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.records import Answer, Records, is_watched

COUNTED_US = 1_000_000
"""So long after it was let in a client counts at last: its record may be written after its CONNECT has left."""
FORGOTTEN_US = 2_000_000
"""So long after the last start of its disconnect handler a client may still count."""
FOREVER = 1 << 62
EXAMPLES = 5


@dataclass
class Asked:
    """How many questions were asked, how many raised an error or got a wrong answer, and the times until the answers.

    `examples` shows the first five of what is wrong.
    """

    questions: int = 0
    failed: int = 0
    wrong: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    examples: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """A line where something is wrong."""
        if not self.failed and not self.wrong:
            return []
        return [f"questions: {self.failed} failed and {self.wrong} were answered wrongly, as {self.examples}"]


class _Life(NamedTuple):
    """One sid: `sure`: from when to when it counts, without a doubt. `possible`: when it may count. µs."""

    sure: list[tuple[int, int]]
    possible: tuple[int, int]

    def must_count(self, since: int, to: int) -> bool:
        return any(begin <= since and to <= end for begin, end in self.sure)

    def may_count(self, since: int, to: int) -> bool:
        return self.possible[0] <= to and since <= self.possible[1]


def check_answers(records: Records) -> Asked:
    """Goes over all answers. Quick where there are none."""
    asked = Asked(len(records.answers))
    if not records.answers:
        return asked
    lives = _lives(records)
    watched = {connect.sid: lives[connect.sid] for connect in records.connects if is_watched(connect.client)}
    for answer in records.answers:
        if answer.error:
            asked.failed += 1
            wrong = answer.error
        else:
            wrong = _what_is_wrong(answer, lives if answer.what == "count" else watched)
            asked.wrong += bool(wrong)
        if wrong and len(asked.examples) < EXAMPLES:
            asked.examples.append(f"{answer.what} at {answer.at} of process {answer.process}: {wrong}")
    times = sorted(answer.took for answer in records.answers)
    asked.p50_ms, asked.p99_ms, asked.max_ms = (
        times[min(len(times) - 1, int(len(times) * part))] / 1000 for part in (0.5, 0.99, 1)
    )
    return asked


def _lives(records: Records) -> dict[str, _Life]:
    began: dict[str, int] = {}
    for connect in records.connects:
        began[connect.sid] = min(connect.at, began.get(connect.sid, FOREVER))
    ended: dict[str, list[int]] = defaultdict(list)
    for gone in records.disconnects:
        ended[gone.sid].append(gone.at)
    let_in: dict[str, list[int]] = defaultdict(list)
    for joined in records.joined:
        let_in[joined.sid].append(joined.at)
    return {
        sid: _Life(
            [(at + COUNTED_US, min((end for end in ended[sid] if end >= at), default=FOREVER)) for at in let_in[sid]],
            (at_first, max(ended[sid], default=FOREVER) + FORGOTTEN_US),
        )
        for sid, at_first in began.items()
    }


def _what_is_wrong(answer: Answer, lives: Mapping[str, _Life]) -> str:
    """ "" where nothing is."""
    since, to = answer.at - answer.took, answer.at
    must = {sid for sid, life in lives.items() if life.must_count(since, to)}
    may = {sid for sid, life in lives.items() if life.may_count(since, to)}
    if answer.what != "clients":
        return "" if len(must) <= int(answer.said) <= len(may) else f"{answer.said}, not {len(must)} to {len(may)}"
    said = set(filter(None, answer.said.split(",")))
    too_few, too_many = sorted(must - said), sorted(said - may)
    return f"without {too_few}, with {too_many}" if too_few or too_many else ""
