"""Promise 7: the nodes' own counters balance, and agree with what handlers and clients wrote down."""

import asyncio
from collections import defaultdict

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.chaos.records import Records

from sio_stack import Stack

QUIET_S = 5.0


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


EQUATIONS = (
    ("sio_io_facts_accepted_total",
     ("sio_io_facts_written_total", "sio_io_facts_dropped_total", "sio_io_facts_waiting")),
    ("sio_io_deliveries_total",
     ("sio_io_deliveries_written_total", "sio_io_deliveries_dropped_total", "sio_io_deliveries_waiting")),
    ("sio_app_facts_read_total",
     ("sio_app_facts_handled_total", "sio_app_facts_refused_total", "sio_app_facts_abandoned_total",
      "sio_app_facts_in_work")),
    ("sio_app_commands_emitted_total",
     ("sio_app_commands_written_total", "sio_app_commands_dropped_total", "sio_app_commands_waiting")),
)  # fmt: skip
"""left = sum of right, on each node that has it."""


async def scrape(url: str) -> Sample:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        answer = await http.get(f"{url}/metrics")
    answer.raise_for_status()
    return Sample(answer.text)


async def check(stack: Stack, records: Records) -> None:
    """AssertionError naming what does not balance. The cluster has to be quiet: what is on its way gets QUIET_S."""
    deadline = asyncio.get_running_loop().time() + QUIET_S
    while problems := await _problems(stack, records):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError("the counters do not balance:\n" + "\n".join(problems))
        await asyncio.sleep(0.2)


async def _problems(stack: Stack, records: Records) -> list[str]:
    ios = {node.name: await scrape(node.url) for node in stack.io_nodes}
    apps = {node.name: await scrape(node.url) for node in stack.app_nodes}
    problems = []
    for node, sample in {**ios, **apps}.items():
        for left, right in EQUATIONS:
            if left in sample and sample.total(left) != sum(sample.total(name) for name in right):
                terms = " + ".join(f"{name} {sample.total(name):g}" for name in right)
                problems.append(f"{node}: {left} {sample.total(left):g} = {terms}")
    problems += _against_records(list(ios.values()), list(apps.values()), records)
    return problems


def _against_records(ios: list[Sample], apps: list[Sample], records: Records) -> list[str]:
    """What nodes counted against what was seen. All clients are in the records, and no node was replaced."""
    sent = len(records.sent) - len(records.refused)
    pairs = (
        ("events sent, sio_io_facts_accepted_total{kind=event}",
         sent, sum(io.of("sio_io_facts_accepted_total", "event") for io in ios)),
        ("connects let in, sio_io_facts_accepted_total{kind=connected}",
         len(records.joined), sum(io.of("sio_io_facts_accepted_total", "connected") for io in ios)),
        ("handlers run, sio_app_facts_handled_total{kind=event}",
         len(records.runs), sum(app.of("sio_app_facts_handled_total", "event") for app in apps)),
        ("facts written by io-nodes, facts read by app-nodes",
         sum(io.total("sio_io_facts_written_total") - io.total("sio_io_acks_written_total") for io in ios)
         + sum(app.total("sio_app_reaper_facts_written_total") for app in apps),
         sum(app.of("sio_app_facts_read_total", "0") for app in apps)),
        ("commands written by app-nodes, commands read by io-nodes",
         sum(app.total("sio_app_commands_written_total") for app in apps),
         sum(io.total("sio_io_commands_read_total") for io in ios)),
        ("emits, acks and CONNECTs seen by clients, sio_io_deliveries_written_total",
         len(records.seen) + len(records.heard) + len(records.acked) + len(records.joined),
         sum(io.total("sio_io_deliveries_written_total") for io in ios)),
    )  # fmt: skip
    if any(run.redelivered or not run.end for run in records.runs):
        # a run that was cut short counts as abandoned, and an official client does not say that it got an ack twice
        pairs = tuple(pair for pair in pairs if not pair[0].startswith(("handlers run", "emits, acks")))
    return [f"{what}: {left:g}, {right:g}" for what, left, right in pairs if left != right]
