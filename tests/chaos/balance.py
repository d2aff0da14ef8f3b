"""Promise 7: the nodes' own counters balance, and agree with what handlers and clients wrote down."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Literal

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.chaos.records import Records, read

from sio_cluster.testing.http import http_client
from sio_stack import Stack

QUIET_S = 10.0

Scope = Literal["each", "across", "all"]
"""Which counters must balance.

`each`: those of each node by themselves. `across`: also what io-nodes wrote against what app-nodes read, and the
other way round; no node may have gone. `all`: also what handlers and clients recorded; all clients must keep
records.
"""


class Sample:
    """One scrape of /metrics. `total(name)` is the sum over all labels, `of(name, value)` the one with that label
    value."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, dict[str, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._values[sample.name]["|".join(sample.labels.values())] = sample.value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def total(self, name: str) -> float:
        return sum(self._values.get(name, {}).values())

    def of(self, name: str, label: str) -> float:
        return self._values.get(name, {}).get(label, 0.0)


IO_EQUATIONS = (
    ("sio_io_facts_accepted_total",
     ("sio_io_facts_written_total", "sio_io_facts_dropped_total", "sio_io_facts_waiting")),
    ("sio_io_deliveries_total",
     ("sio_io_deliveries_written_total", "sio_io_deliveries_dropped_total", "sio_io_deliveries_waiting")),
)  # fmt: skip
"""Pairs of (counter, counters that must add up to it)."""

APP_EQUATIONS = (
    ("sio_app_facts_read_total",
     ("sio_app_facts_handled_total", "sio_app_facts_refused_total", "sio_app_facts_abandoned_total",
      "sio_app_facts_in_work")),
    ("sio_app_commands_emitted_total",
     ("sio_app_commands_written_total", "sio_app_commands_for_nobody_total", "sio_app_commands_dropped_total",
      "sio_app_commands_waiting")),
)  # fmt: skip


async def scrape(url: str) -> Sample:
    async with http_client(timeout=5) as http:
        return await scrape_by(http, url)


async def scrape_by(http: httpx.AsyncClient, url: str) -> Sample:
    """By a client whose connections are open already: in a storm a new one takes its time."""
    answer = await http.get(f"{url}/metrics")
    answer.raise_for_status()
    return Sample(answer.text)


async def check(stack: Stack, directory: Path, scope: Scope, *, beside: int = 0) -> None:
    """Raises AssertionError that names what does not balance, after waiting up to QUIET_S for what is on its way.

    Nobody may send any more. `directory` has the records; `beside` is the number of events that are in none.
    """
    deadline = asyncio.get_running_loop().time() + QUIET_S
    while problems := await _problems(stack, directory, scope, beside):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError("the counters do not balance:\n" + "\n".join(problems))
        await asyncio.sleep(0.2)


async def _problems(stack: Stack, directory: Path, scope: Scope, beside: int) -> list[str]:
    ios = {node.name: await scrape(node.url) for node in stack.io_nodes}
    apps = {node.name: await scrape(node.url) for node in stack.app_nodes}
    problems = []
    for nodes, equations in ((ios, IO_EQUATIONS), (apps, APP_EQUATIONS)):
        for node, sample in nodes.items():
            problems += [f"{node}: {problem}" for problem in unequal(sample, equations)]
    if scope != "each":
        problems += _across(list(ios.values()), list(apps.values()))
    if scope == "all":
        problems += _against_records(list(ios.values()), list(apps.values()), read(directory), beside)
    return problems


def unequal(sample: Sample, equations: tuple[tuple[str, tuple[str, ...]], ...]) -> list[str]:
    """The equations that do not hold, among them those whose left side the node does not export."""
    problems = []
    for left, right in equations:
        if left not in sample:
            problems.append(f"there is no {left}")
        elif sample.total(left) != sum(sample.total(name) for name in right):
            terms = " + ".join(f"{name} {sample.total(name):g}" for name in right)
            problems.append(f"{left} {sample.total(left):g} = {terms}")
    return problems


def _across(ios: list[Sample], apps: list[Sample]) -> list[str]:
    """What one kind of node wrote against what the other kind read.

    They are equal, with three exceptions. A read whose answer was lost is repeated, and counts as read again. A
    command may have landed although its sender was told that it was barred; then it counts as dropped and as read. And
    where clients came back to another io-node, several read the commands to one home, and Evict comes from io-nodes.
    """
    written = sum(io.total("sio_io_facts_written_total") - io.total("sio_io_acks_written_total") for io in ios)
    written += sum(app.total("sio_app_reaper_facts_written_total") for app in apps)
    read, again = (sum(app.of("sio_app_facts_read_total", label) for app in apps) for label in "01")
    sent, dropped = (sum(app.total(f"sio_app_commands_{end}_total") for app in apps) for end in ("written", "dropped"))
    landed = sum(io.total("sio_io_commands_read_total") for io in ios)
    problems = []
    if not read <= written <= read + again:
        problems.append(f"facts written by io-nodes {written:g}, read by app-nodes {read:g}, again {again:g}")
    moved = any(io.total("sio_io_homes_adopted") for io in ios)
    if landed < sent or (landed > sent + dropped and not moved):
        problems.append(f"commands written by app-nodes {sent:g}, dropped {dropped:g}, read by io-nodes {landed:g}")
    return problems


def _against_records(ios: list[Sample], apps: list[Sample], records: Records, beside: int) -> list[str]:
    """What nodes counted against what handlers and clients recorded."""
    sent = len(records.sent) - len(records.refused) + beside
    pairs: tuple[tuple[str, float, float], ...] = (
        ("events sent, sio_io_facts_accepted_total{kind=event}",
         sent, sum(io.of("sio_io_facts_accepted_total", "event") for io in ios)),
        ("connects let in, sio_io_facts_accepted_total{kind=connected}",
         len(records.joined), sum(io.of("sio_io_facts_accepted_total", "connected") for io in ios)),
        ("handlers run, sio_app_facts_handled_total{kind=event}",
         len(records.runs) + beside, sum(app.of("sio_app_facts_handled_total", "event") for app in apps)),
        ("emits, acks and CONNECTs seen by clients, sio_io_deliveries_written_total",
         len(records.seen) + len(records.heard) + len(records.acked) + len(records.joined),
         sum(io.total("sio_io_deliveries_written_total") for io in ios)),
    )  # fmt: skip
    if any(run.redelivered or not run.end for run in records.runs):
        # a run that was cut short counts as abandoned, and an official client does not say that it got an ack twice
        pairs = tuple(pair for pair in pairs if not pair[0].startswith(("handlers run", "emits, acks")))
    return _differing(*pairs)


def _differing(*pairs: tuple[str, float, float]) -> list[str]:
    return [f"{what}: {left:g}, {right:g}" for what, left, right in pairs if left != right]
