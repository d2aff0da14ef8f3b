"""Why somebody waited: what the machine, Redis and the nodes did meanwhile. Told where a limit of time was missed.

A machine or a disk that stood still shows here, and so does a cluster that waited while both were idle.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from time import time_ns
from typing import NamedTuple

from tests.chaos.records import Records, Run, now_us

SAMPLE_S = 0.05
WAITS, LINES = 4, 30
BEFORE_US = 500_000
"""Log lines are shown from so long before the longest wait began."""
PRESSURE = Path("/proc/pressure")
"""Where Linux says how long processes wanted something and did not get it. Not everywhere."""


class Sample(NamedTuple):
    """`late`: how much later than asked it was taken. `cpu`, `io`: how long a process waited for it so far. All in
    µs."""

    at: int
    late: int
    cpu: int
    io: int


class Wait(NamedTuple):
    """A client's wait for the ack of one event, from when to when. µs."""

    sent: int
    acked: int
    client: int
    seq: int


class Machine:
    """Samples of the machine, taken while it is `watched`."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def between(self, since: int, to: int) -> str:
        """What the machine did between these times (µs)."""
        seen = [sample for sample in self.samples if since <= sample.at <= to + SAMPLE_S * 1e6]
        if len(seen) < 2:
            return "the machine was not watched"
        first, last = seen[0], seen[-1]
        part = 100 / (last.at - first.at)
        return (
            f"the test's own loop was late by at most {max(sample.late for sample in seen) / 1000:.0f} ms; processes "
            f"waited for a processor in {part * (last.cpu - first.cpu):.0f} %, for the disk in "
            f"{part * (last.io - first.io):.0f} % of the time"
        )

    def late_s(self, since: int) -> float:
        """By how much the test's own loop was late, at most, since then (µs)."""
        return max((sample.late for sample in self.samples if sample.at >= since), default=0) / 1e6

    async def watch(self) -> None:
        """Takes samples until it is cancelled."""
        while True:
            due = now_us() + int(SAMPLE_S * 1e6)
            await asyncio.sleep(SAMPLE_S)
            at = now_us()
            self.samples.append(Sample(at, at - due, _waited_us("cpu"), _waited_us("io")))


@asynccontextmanager
async def watched() -> AsyncIterator[Machine]:
    """The machine, with samples from now on to the end."""
    machine = Machine()
    task = asyncio.create_task(machine.watch())
    try:
        yield machine
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def longest_waits(records: Records) -> list[Wait]:
    """The longest wait of each client, the longest first."""
    longest: dict[int, Wait] = {}
    for sent in records.sent:
        acked = records.acked.get((sent.client, sent.seq), 0)
        known = longest.get(sent.client)
        if acked and (known is None or acked - sent.at > known.acked - known.sent):
            longest[sent.client] = Wait(sent.at, acked, sent.client, sent.seq)
    return sorted(longest.values(), key=lambda wait: wait.sent - wait.acked)


def told(records: Records, machine: Machine, redis: str, log: Iterable[tuple[str, str]]) -> list[str]:
    """Lines about the longest waits, and about what happened around the longest one of them."""
    found = longest_waits(records)
    if not found:
        return []
    longest = found[0]
    runs: dict[tuple[int, int], list[Run]] = {}
    for run in records.runs:
        runs.setdefault((run.client, run.seq), []).append(run)
    lines = [_described(wait, longest.sent, runs.get((wait.client, wait.seq), [])) for wait in found[:WAITS]]
    return [*lines, *around(machine, redis, log, longest.sent, longest.acked)]


def around(machine: Machine, redis: str, log: Iterable[tuple[str, str]], since: int, to: int) -> list[str]:
    """Lines about what happened between these times (µs): to the machine, in Redis, and what nodes logged."""
    wall_us = time_ns() // 1000 - now_us()
    said = _logged(log, since - BEFORE_US + wall_us, to + wall_us)
    lines = [machine.between(since, to), redis]
    return [*lines, *(f"{(at - wall_us - since) / 1000:+.0f} ms {line}" for at, line in said)][:LINES]


def _described(wait: Wait, zero: int, runs: list[Run]) -> str:
    begun = ", ".join(f"begun by process {run.process} after {(run.start - wait.sent) / 1000:.0f} ms" for run in runs)
    return (
        f"client {wait.client} sent event {wait.seq} at {(wait.sent - zero) / 1000:+.0f} ms and waited for "
        f"{(wait.acked - wait.sent) / 1000:.0f} ms; it was {begun or 'never begun'}"
    )


def _logged(log: Iterable[tuple[str, str]], since: int, to: int) -> Iterator[tuple[int, str]]:
    """What nodes logged between these times (µs, wall clock), each with its time."""
    for name, line in log:
        try:
            entry = json.loads(line)
            at = int(datetime.fromisoformat(entry.pop("timestamp")).timestamp() * 1e6)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # not a line of a node's log
        if since <= at <= to:
            what = " ".join(f"{key}={value}" for key, value in entry.items() if key not in ("level", "node", "role"))
            yield at, f"{name}: {what}"[:200]


def _waited_us(what: str) -> int:
    """For how long in all at least one process waited for the processor ("cpu") or the disk ("io"). 0: unknown."""
    try:
        some = (PRESSURE / what).read_text().splitlines()[0]
    except OSError:
        return 0
    return int(some.rpartition("total=")[2])
