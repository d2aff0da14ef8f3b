"""Promise 7: the nodes' own counters balance, and agree with what handlers and clients wrote down."""

import asyncio
from collections import defaultdict
from typing import Literal

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.chaos.records import Records

from sio_stack import Stack

QUIET_S = 10.0

Scope = Literal["each", "across", "all"]
"""`each`: in each node that is there. `across`: also what one kind wrote and the other read, where no node has gone.
`all`: also what clients and handlers wrote down, where all clients do."""


class Sample:
    """One scrape: `total(name)` sums over labels, `of(name, value)` is the one with that label value."""

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
"""left = sum of right."""

APP_EQUATIONS = (
    ("sio_app_facts_read_total",
     ("sio_app_facts_handled_total", "sio_app_facts_refused_total", "sio_app_facts_abandoned_total",
      "sio_app_facts_in_work")),
    ("sio_app_commands_emitted_total",
     ("sio_app_commands_written_total", "sio_app_commands_dropped_total", "sio_app_commands_waiting")),
)  # fmt: skip


async def scrape(url: str) -> Sample:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        answer = await http.get(f"{url}/metrics")
    answer.raise_for_status()
    return Sample(answer.text)


async def check(stack: Stack, records: Records, scope: Scope, *, beside: int = 0) -> None:
    """AssertionError naming what does not balance. The cluster has to be quiet: what is on its way gets QUIET_S.
    `beside`: events that are in no record."""
    deadline = asyncio.get_running_loop().time() + QUIET_S
    while problems := await _problems(stack, records, scope, beside):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError("the counters do not balance:\n" + "\n".join(problems))
        await asyncio.sleep(0.2)


async def _problems(stack: Stack, records: Records, scope: Scope, beside: int) -> list[str]:
    ios = {node.name: await scrape(node.url) for node in stack.io_nodes}
    apps = {node.name: await scrape(node.url) for node in stack.app_nodes}
    problems = []
    for nodes, equations in ((ios, IO_EQUATIONS), (apps, APP_EQUATIONS)):
        for node, sample in nodes.items():
            problems += [f"{node}: {problem}" for problem in unequal(sample, equations)]
    if scope != "each":
        problems += _across(list(ios.values()), list(apps.values()))
    if scope == "all":
        problems += _against_records(list(ios.values()), list(apps.values()), records, beside)
    return problems


def unequal(sample: Sample, equations: tuple[tuple[str, tuple[str, ...]], ...]) -> list[str]:
    """The equations that do not hold. One whose left side the node does not tell does not hold either."""
    problems = []
    for left, right in equations:
        if left not in sample:
            problems.append(f"there is no {left}")
        elif sample.total(left) != sum(sample.total(name) for name in right):
            terms = " + ".join(f"{name} {sample.total(name):g}" for name in right)
            problems.append(f"{left} {sample.total(left):g} = {terms}")
    return problems


def _across(ios: list[Sample], apps: list[Sample]) -> list[str]:
    """What nodes wrote against what the other kind read: equal, but for what vanished on its way to an app-node (its
    next reader counts that as redelivered), and for commands that landed though their sender heard that it was barred.
    """
    written = sum(io.total("sio_io_facts_written_total") - io.total("sio_io_acks_written_total") for io in ios)
    written += sum(app.total("sio_app_reaper_facts_written_total") for app in apps)
    read, again = (sum(app.of("sio_app_facts_read_total", label) for app in apps) for label in "01")
    sent, dropped = (sum(app.total(f"sio_app_commands_{end}_total") for app in apps) for end in ("written", "dropped"))
    landed = sum(io.total("sio_io_commands_read_total") for io in ios)
    problems = []
    if not read <= written <= read + again:
        problems.append(f"facts written by io-nodes {written:g}, read by app-nodes {read:g}, again {again:g}")
    if not sent <= landed <= sent + dropped:
        problems.append(f"commands written by app-nodes {sent:g}, dropped {dropped:g}, read by io-nodes {landed:g}")
    return problems


def _against_records(ios: list[Sample], apps: list[Sample], records: Records, beside: int) -> list[str]:
    """What nodes counted against what was seen."""
    sent = len(records.sent) - len(records.refused) + beside
    pairs = (
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
