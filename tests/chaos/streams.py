"""The checker of connection state recovery: what each client got of each numbered stream, from records alone. Pure.

The lines are those of `recovery_app.py` and `js/recovery.mjs`. A client that was given its session back each time must
have every number of a stream from the first one that it got to the stream's last one, in order, each once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

EXAMPLES = 5


@dataclass
class Seen:
    """Counts of faults, which should all be 0, and figures. `examples` shows the first of each fault."""

    clients: int = 0
    messages: int = 0
    broken: int = 0
    recovered: int = 0

    fresh: int = 0
    """Connections after the first that did not get the session back."""
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    alternation: int = 0
    """Connects and disconnects of one sid that did not take turns."""
    examples: dict[str, list[str]] = field(default_factory=dict)

    def count(self, fault: str, what: object) -> None:
        setattr(self, fault, getattr(self, fault) + 1)
        shown = self.examples.setdefault(fault, [])
        if len(shown) < EXAMPLES:
            shown.append(str(what))


FAULTS = ("fresh", "lost", "doubled", "reordered", "alternation")


def faults(seen: Seen) -> list[str]:
    """One line for each kind of fault that was found."""
    return [
        f"{name}: {getattr(seen, name)}, as {seen.examples.get(name, [])}" for name in FAULTS if getattr(seen, name)
    ]


def look(directory: Path, *, skipped_below: int) -> Seen:
    """Reads `clients-*.txt` and `app-*.txt`. A client below `skipped_below` is left out of "skip" streams at times."""
    seen = Seen()
    got: dict[tuple[int, str], list[int]] = defaultdict(list)
    sessions: Counter[int] = Counter()
    for path in sorted(directory.glob("clients-*.txt")):
        _read_clients(seen, got, sessions, _lines(path))
    seen.clients = len(sessions)
    ends: dict[str, int] = {}
    life: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for path in sorted(directory.glob("app-*.txt")):
        for letter, at, *rest in _lines(path):
            if letter == "e":
                ends[rest[0]] = int(rest[1])
            elif letter == "c" and rest[2] == rest[4] == "0":  # neither of a restarted app-node nor a redelivery
                life[rest[1]].append((int(at), "c"))
            elif letter == "d" and rest[2] == "0":
                life[rest[1]].append((int(at), "d"))
    _streams(seen, got, ends, skipped_below)
    _alternate(seen, life)
    return seen


def _read_clients(
    seen: Seen, got: dict[tuple[int, str], list[int]], sessions: Counter[int], lines: Iterable[list[str]]
) -> None:
    for letter, _, client, _sid, *rest in lines:
        match letter:
            case "o":
                sessions[int(client)] += 1
                if rest[0] == "1":
                    seen.recovered += 1
                elif sessions[int(client)] > 1:
                    seen.count("fresh", client)
            case "p":
                seen.broken += 1
            case "v":
                seen.messages += 1
                got[int(client), rest[0]].append(int(rest[1]))
            case _:
                raise ValueError(f"no such line: {letter}")


def _streams(seen: Seen, got: Mapping[tuple[int, str], list[int]], ends: Mapping[str, int], skipped_below: int) -> None:
    newest: dict[str, int] = {}
    for (_, stream), numbers in got.items():
        newest[stream] = max(newest.get(stream, 0), *numbers)
    for (client, stream), numbers in got.items():
        if ":skip:" in stream and client < skipped_below:
            continue
        for before, after in pairwise(numbers):
            if after == before + 1:
                continue
            if after > before:
                seen.count("lost", (client, stream, before, after))
            else:
                seen.count("doubled" if numbers.count(after) > 1 else "reordered", (client, stream, before, after))
        last = ends.get(stream, newest[stream])  # one whose app-node was killed ends with what anybody got
        if max(numbers) < last:
            seen.count("lost", (client, stream, max(numbers), f"end {last}"))


def _alternate(seen: Seen, life: Mapping[str, list[tuple[int, str]]]) -> None:
    for sid, steps in life.items():
        letters = "".join(letter for _, letter in sorted(steps))
        if letters.replace("cd", "") not in ("", "c"):
            seen.count("alternation", (sid, letters))


def _lines(path: Path) -> Iterable[list[str]]:
    """The lines of a file. A last line without its end was cut by a kill, and is left out."""
    return (line.split() for line in path.read_text().split("\n")[:-1])
