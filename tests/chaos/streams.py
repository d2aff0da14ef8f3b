"""The checker of connection state recovery: what each client got of each numbered stream, from records alone. Pure.

The lines are those of `recovery_app.py` and `js/recovery.mjs`. A client that was given its session back each time must
have every number of a stream from the first one that it got to the stream's last one, in order, each once.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

EXAMPLES = 5
TURNS = {
    "now": re.compile("[CD]*([cC][CD]*[dD][CD]*)*([cC][CD]*)?"),
    "late": re.compile("[CD]*(([cC][CD]*)+[dD][CD]*)?"),
}
"""How connects (c) and disconnects (d) of one sid may follow one another, by RECOVERY_NOTICE. Capitals are redelivered:
each repeats what was handled before, or is the first to be handled, since whoever had it lost its lane."""


class Fault(NamedTuple):
    """`since`, `to`: between which times it came about, in µs."""

    since: int
    to: int
    what: str


class Away(NamedTuple):
    """A client was without a connection from `since` to `to` (µs)."""

    client: int
    since: int
    to: int


class Told(NamedTuple):
    """The application heard of a disconnect."""

    at: int
    client: int
    sid: str
    reason: str


@dataclass
class Seen:
    """Counts of faults, which should all be 0, and figures. `found` has the first of each fault."""

    clients: int = 0
    emits: int = 0
    seconds: float = 0.0
    """For how long the application emitted."""
    messages: int = 0
    """What came of the emits: one for each client that got one."""
    broken: int = 0
    recovered: int = 0
    aways: list[Away] = field(default_factory=list)
    disconnects: list[Told] = field(default_factory=list)

    late: int = 0
    """Clients that were away for longer than the window, and became new ones. Nothing is promised to them."""
    fresh: int = 0
    """Connections after the first that did not get the session back."""
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    alternation: int = 0
    """Connects and disconnects of one sid that did not take turns."""
    found: dict[str, list[Fault]] = field(default_factory=dict)

    @property
    def longest(self) -> Away:
        """The longest time without a connection."""
        return max(self.aways, key=lambda away: away.to - away.since, default=Away(-1, 0, 0))

    def count(self, fault: str, since: int, to: int, what: str) -> None:
        setattr(self, fault, getattr(self, fault) + 1)
        shown = self.found.setdefault(fault, [])
        if len(shown) < EXAMPLES:
            shown.append(Fault(since, to, what))


FAULTS = ("fresh", "lost", "doubled", "reordered", "alternation")


def faults(seen: Seen) -> list[str]:
    """One line for each kind of fault that was found."""
    return [
        f"{name}: {getattr(seen, name)}, as {[fault.what for fault in seen.found.get(name, [])]}"
        for name in FAULTS if getattr(seen, name)
    ]  # fmt: skip


@dataclass
class _Client:
    """What one client wrote down. `breaks`: when its connections broke."""

    sessions: int = 0
    breaks: list[int] = field(default_factory=list)
    late: bool = False
    got: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))  # stream -> when, number

    def since(self, at: int) -> int:
        """When its connection last broke before this time. 0: it did not."""
        return max((broke for broke in self.breaks if broke <= at), default=0)


def look(
    directory: Path, *, skipped_below: int, window_s: float, notice: str = "now", gone: Collection[int] = ()
) -> Seen:
    """Reads `clients-*.txt` and `app-*.txt`.

    A client below `skipped_below` is left out of "skip" streams at times. `notice`: RECOVERY_NOTICE. `gone`: clients
    that did not mean to come back; what was said to them at the end is not lost.
    """
    seen = Seen()
    clients = _read_clients(seen, directory, window_s)
    seen.clients = len(clients)
    seen.disconnects = disconnects(directory)
    ends: dict[str, tuple[int, int]] = {}
    life: dict[str, list[tuple[int, str]]] = defaultdict(list)
    began: list[int] = []
    for path in sorted(directory.glob("app-*.txt")):
        for letter, at, *rest in _lines(path):
            if letter == "b":
                began.append(int(at))
            elif letter == "e":
                ends[rest[0]] = int(at), int(rest[1])
            elif letter == "c" and rest[2] == "0":  # not of an app-node that took the client over
                life[rest[1]].append((int(at), "c" if rest[4] == "0" else "C"))
            elif letter == "d":
                life[rest[1]].append((int(at), "d" if rest[2] == "0" else "D"))
    seen.seconds = (max(at for at, _ in ends.values()) - min(began)) / 1e6 if ends and began else 0.0
    _streams(seen, {number: client for number, client in clients.items() if not client.late}, ends, skipped_below, gone)
    _alternate(seen, life, TURNS[notice])
    return seen


def disconnects(directory: Path) -> list[Told]:
    """What the application has heard so far."""
    lines = (line for path in directory.glob("app-*.txt") for line in _lines(path))
    return [Told(int(at), int(rest[0]), rest[1], " ".join(rest[3:])) for letter, at, *rest in lines if letter == "d"]


def breaks(directory: Path, client: int) -> list[int]:
    """When this client's connections broke so far, in µs."""
    lines = (line for path in directory.glob("clients-*.txt") for line in _lines(path))
    return [int(at) for letter, at, number, *_ in lines if letter == "p" and int(number) == client]


def interrupted(directory: Path, name: str) -> dict[int, tuple[int, int]]:
    """The clients whose connection broke in the midst of what they were told of the streams of this name (the part
    behind the process): how many numbers they had by then, and how many they got later.

    It counts from the first connection that gave the session back.
    """
    found: dict[int, tuple[int, int]] = {}
    for path in sorted(directory.glob("clients-*.txt")):
        back: set[int] = set()
        before: Counter[int] = Counter()
        after: Counter[int] = Counter()
        broke: set[int] = set()
        for letter, _, number, _sid, *rest in _lines(path):
            client = int(number)
            if letter == "o" and rest[0] == "1":
                back.add(client)
            elif letter == "p" and before[client]:
                broke.add(client)
            elif letter == "v" and client in back and rest[0].endswith(f":{name}"):
                (after if client in broke else before)[client] += 1
        found |= {client: (before[client], after[client]) for client in broke if after[client]}
    return found


def _read_clients(seen: Seen, directory: Path, window_s: float) -> dict[int, _Client]:
    clients: dict[int, _Client] = defaultdict(_Client)
    for path in sorted(directory.glob("clients-*.txt")):
        for letter, when, number, _sid, *rest in _lines(path):
            client, at = clients[int(number)], int(when)
            match letter:
                case "o":
                    _came(seen, client, int(number), at, recovered=rest[0] == "1", window_s=window_s)
                case "p":
                    seen.broken += 1
                    client.breaks.append(at)
                case "v":
                    seen.messages += 1
                    client.got[rest[0]].append((at, int(rest[1])))
                case "h":
                    pass  # asked for while the scenario runs
                case _:
                    raise ValueError(f"no such line: {letter}")
    return clients


def _came(seen: Seen, client: _Client, number: int, at: int, *, recovered: bool, window_s: float) -> None:
    client.sessions += 1
    if client.sessions == 1:
        return
    away = Away(number, client.since(at), at)
    seen.aways.append(away)
    if recovered:
        seen.recovered += 1
    elif at - away.since > window_s * 1e6:
        seen.late += not client.late
        client.late = True
    else:
        seen.count("fresh", *away[1:], f"client {number}")


def _streams(
    seen: Seen,
    clients: Mapping[int, _Client],
    ends: Mapping[str, tuple[int, int]],
    skipped_below: int,
    gone: Collection[int],
) -> None:
    newest: dict[str, tuple[int, int]] = {}
    for client in clients.values():
        for stream, got in client.got.items():
            newest[stream] = max(newest.get(stream, (0, 0)), *got, key=lambda one: one[1])
    seen.emits = sum(ends.get(stream, last)[1] for stream, last in newest.items())
    for number, client in clients.items():
        for stream, got in client.got.items():
            if ":skip:" in stream and number < skipped_below:
                continue
            _in_order(seen, number, client, stream, got)
            at, last = ends.get(stream, newest[stream])  # one whose app-node was killed ends with what anybody got
            highest = max(n for _, n in got)
            if highest < last and number not in gone:
                seen.count(
                    "lost",
                    client.since(at) or got[-1][0],
                    at,
                    f"client {number}: {highest} of {stream} is the last, and not {last}",
                )


def _in_order(seen: Seen, number: int, client: _Client, stream: str, got: list[tuple[int, int]]) -> None:
    often = Counter(n for _, n in got)
    for (since, before), (at, after) in pairwise(got):
        if after == before + 1:
            continue
        kind = "lost" if after > before else "doubled" if often[after] > 1 else "reordered"
        seen.count(kind, client.since(at) or since, at, f"client {number}: {after} of {stream} after {before}")


def _alternate(seen: Seen, life: Mapping[str, list[tuple[int, str]]], turns: re.Pattern[str]) -> None:
    for sid, steps in life.items():
        steps.sort()
        letters = "".join(letter for _, letter in steps)
        if not turns.fullmatch(letters):
            seen.count("alternation", steps[0][0], steps[-1][0], f"{sid}: {letters}")


def _lines(path: Path) -> Iterable[list[str]]:
    """The lines of a file. A last line without its end was cut by a kill, and is left out."""
    return (line.split() for line in path.read_text().split("\n")[:-1])
