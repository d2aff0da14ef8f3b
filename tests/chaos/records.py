"""What handlers and clients saw, written down by themselves: one line per event, in append-only files.

Times are CLOCK_MONOTONIC in microseconds, which all processes of one machine share. A line is written by one `write`
to a file opened with O_APPEND, so that what a process saw outlives its kill -9. A line is a letter and its fields:

    c t client sid token again redelivered recovered
                                                the connect handler runs; `again`: with is_reconnect; `recovered`: with
                                                is_recovered
    d t client sid redelivered reason           the disconnect handler runs
    s t run client seq sid token redelivered    an event's handler starts
    e t run                                     it ended
    x t run                                     it was cancelled
    m t client sid token n seq                  it emitted the n-th `down` to this sid under this token
    b t n                                       the n-th `news` of this process has reached Redis
    k t what took answer                        it asked who is there: what it was told, after so many µs. `what`:
                                                see tests/chaos/app.py
    K t what took error                         the same, and it failed

    o t client sid pid recovered                a client was let in; `pid`: it can claim its session back; `recovered`:
                                                it has done so
    p t client sid                              its connection broke, not by its own wish
    q t client sid                              it leaves by its own wish
    > t client seq sid                          it sent an event
    r t client seq                              that one never left, or was refused: it does not count as sent
    a t client seq                              its ack came
    v t client sid seq origin token n           a `down` came
    n t client sid origin n                     a `news` came
    h t client sid room round                   it was told something in this room (tests/chaos/rooms.py)

`token` is the fencing token of the lane under which a handler ran, below 0 if it ran for a quarantine. `origin` is the
process id that emitted.
"""

import os
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

WATCHED_EVERY = 10


def is_watched(client: int) -> bool:
    """Whether this client is in the room `watched`."""
    return client % WATCHED_EVERY == 0


class Pen:
    """Appends lines to one file, each by one write. The file is made with the first line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def __call__(self, letter: str, *fields: object) -> None:
        if self._file < 0:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(self._file, f"{letter} {now_us()} {' '.join(map(str, fields))}\n".encode())


def now_us() -> int:
    return time.monotonic_ns() // 1000


class Connect(NamedTuple):
    at: int
    process: int
    client: int
    sid: str
    token: int
    again: bool
    redelivered: bool
    recovered: bool


class Disconnect(NamedTuple):
    at: int
    process: int
    client: int
    sid: str
    redelivered: bool
    reason: str


class Run(NamedTuple):
    """One run of an event's handler. `end` is 0 where it was cut short."""

    start: int
    end: int
    process: int
    client: int
    seq: int
    sid: str
    token: int
    redelivered: bool


class Made(NamedTuple):
    at: int
    process: int
    sid: str
    token: int
    n: int
    client: int
    seq: int


class News(NamedTuple):
    at: int
    process: int
    n: int


class Answer(NamedTuple):
    """What a process was told of who is there. `at`: when the answer came. `took`: after how many µs."""

    at: int
    process: int
    what: str
    took: int
    said: str
    error: str


class Joined(NamedTuple):
    at: int
    client: int
    sid: str
    pid: bool
    recovered: bool


class Parted(NamedTuple):
    at: int
    client: int
    sid: str


class Sent(NamedTuple):
    at: int
    client: int
    seq: int
    sid: str


class Seen(NamedTuple):
    at: int
    client: int
    sid: str
    seq: int
    origin: int
    token: int
    n: int


class Heard(NamedTuple):
    at: int
    client: int
    sid: str
    origin: int
    n: int


@dataclass
class Records:
    """All records of one scenario. Each list keeps the order in which its writers wrote."""

    connects: list[Connect] = field(default_factory=list)
    disconnects: list[Disconnect] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    news: list[News] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    joined: list[Joined] = field(default_factory=list)
    parted: list[Parted] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)  # sid -> when
    sent: list[Sent] = field(default_factory=list)
    refused: set[tuple[int, int]] = field(default_factory=set)
    acked: dict[tuple[int, int], int] = field(default_factory=dict)  # (client, seq) -> when first
    acks: Counter[tuple[int, int]] = field(default_factory=Counter)  # how often
    seen: list[Seen] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)


def read(directory: Path) -> Records:
    """Reads `app-PID.txt` and `clients-*.txt`. Raises ValueError for an unknown line."""
    records = Records()
    for path in sorted(directory.glob("app-*.txt")):
        _read_app(records, int(path.stem.partition("-")[2]), _lines(path))
    for path in sorted(directory.glob("clients-*.txt")):
        _read_clients(records, _lines(path))
    records.runs.sort()
    return records


def disconnected(directory: Path) -> Counter[str]:
    """How often the disconnect handler of each sid has run by now. Quick: it is asked while a scenario runs."""
    return _sids(directory.glob("app-*.txt"), rb"^d \d+ -?\d+ (\S+) ")


def joined(directory: Path) -> Counter[str]:
    """How often each sid was let in by now."""
    return _sids(directory.glob("clients-*.txt"), rb"^o \d+ \d+ (\S+) ")


def parted(directory: Path) -> Counter[str]:
    """How often the connection of each sid broke by now."""
    return _sids(directory.glob("clients-*.txt"), rb"^p \d+ \d+ (\S+)$")


def present(directory: Path) -> set[str]:
    """The sids that were let in by now, and neither left nor lost their connection since."""
    last: dict[str, bytes] = {}
    for path in directory.glob("clients-*.txt"):
        for letter, sid in re.findall(rb"^([opq]) \d+ \d+ (\S+)", path.read_bytes(), re.MULTILINE):
            last[sid.decode()] = letter
    return {sid for sid, letter in last.items() if letter == b"o"}


def _sids(paths: Iterable[Path], line: bytes) -> Counter[str]:
    pattern = re.compile(line, re.MULTILINE)
    return Counter(sid.decode() for path in paths for sid in pattern.findall(path.read_bytes()))


def _lines(path: Path) -> Iterable[list[str]]:
    """The lines of a file. A last line without its end was cut by a kill, and is left out."""
    return (line.split() for line in path.read_text().split("\n")[:-1])


def _read_app(records: Records, process: int, lines: Iterable[list[str]]) -> None:
    open_runs: dict[str, list[str]] = {}
    for letter, at, *rest in lines:
        when = int(at)
        match letter:
            case "s":
                open_runs[rest[0]] = [at, *rest]
            case "e" | "x":
                _add_run(records, process, open_runs.pop(rest[0]), when if letter == "e" else 0)
            case "m":
                client, sid, token, n, seq = rest
                records.made.append(Made(when, process, sid, int(token), int(n), int(client), int(seq)))
            case "b":
                records.news.append(News(when, process, int(rest[0])))
            case "k" | "K":
                what, took, *said = rest
                words = " ".join(said)
                told, error = (words, "") if letter == "k" else ("", words)
                records.answers.append(Answer(when, process, what, int(took), told, error))
            case "c":
                client, sid, token, *said = rest
                again, repeated, recovered = (flag == "1" for flag in said)
                flags = (again, repeated, recovered)
                records.connects.append(Connect(when, process, int(client), sid, int(token), *flags))
            case "d":
                client, sid, redelivered, *reason = rest
                gone = Disconnect(when, process, int(client), sid, redelivered == "1", " ".join(reason))
                records.disconnects.append(gone)
            case _:
                raise ValueError(f"no such line: {letter}")
    for run in open_runs.values():
        _add_run(records, process, run, 0)


def _add_run(records: Records, process: int, fields: list[str], end: int) -> None:
    at, _, client, seq, sid, token, redelivered = fields
    run = Run(int(at), end, process, int(client), int(seq), sid, int(token), redelivered == "1")
    records.runs.append(run)


def _read_clients(records: Records, lines: Iterable[list[str]]) -> None:
    for letter, at, client, *rest in lines:
        when, who = int(at), int(client)
        match letter:
            case ">":
                records.sent.append(Sent(when, who, int(rest[0]), rest[1]))
            case "a":
                records.acked.setdefault((who, int(rest[0])), when)
                records.acks[who, int(rest[0])] += 1
            case "v":
                sid, seq, origin, token, n = rest
                records.seen.append(Seen(when, who, sid, int(seq), int(origin), int(token), int(n)))
            case "n":
                records.heard.append(Heard(when, who, rest[0], int(rest[1]), int(rest[2])))
            case "o":
                records.joined.append(Joined(when, who, rest[0], rest[1] == "1", rest[2] == "1"))
            case "p":
                records.parted.append(Parted(when, who, rest[0]))
            case "q":
                records.left[rest[0]] = when
            case "r":
                records.refused.add((who, int(rest[0])))
            case "h":
                pass  # asked for while the scenario runs
            case _:
                raise ValueError(f"no such line: {letter}")
