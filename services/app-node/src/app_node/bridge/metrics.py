"""Writes down what a bridge counts, as `/metrics` answers it, beside what it counts as an app-node.

For each source: read = delivered + refused + ignored + the one in work.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import get_args

from app_node.bridge.counters import BridgeCounters
from app_node.bridge.requests import REASONS, Source
from sio_cluster.node.monitoring.metrics import Family, labelled


def families(counters: BridgeCounters, *, ready: bool, active: bool) -> Iterator[Family]:
    """All metrics of a bridge. Constant names, each with a fixed set of labels."""
    yield _by_source("sio_bridge_messages_read", "Messages of other programs", counters.read)
    yield _by_source("sio_bridge_messages_delivered", "Messages that were carried out", counters.delivered)
    yield _by_source("sio_bridge_messages_ignored", "Messages that are not for clients", counters.ignored)
    yield Family(
        "counter",
        "sio_bridge_messages_refused",
        "Messages that were not carried out",
        {kind: counters.refused[kind] for kind in product(get_args(Source), REASONS)},
        ("source", "reason"),
    )
    yield Family("counter", "sio_bridge_subscriptions_lost", "How often channels were not heard for a time",
                 {(): counters.subscriptions_lost})  # fmt: skip
    yield Family("counter", "sio_bridge_entries_lost", "Entries that were trimmed before a bridge had read them",
                 {(): counters.entries_lost})  # fmt: skip
    yield Family("gauge", "sio_bridge_entries_behind", "Entries of the stream that wait", {(): counters.behind})
    yield Family("gauge", "sio_bridge_active", "1 in the bridge that passes messages on", {(): int(active)})
    yield Family("gauge", "sio_bridge_ready", "1 while the bridge works, or waits to become active", {(): int(ready)})
    yield Family("counter", "sio_bridge_redis_retries", "Operations tried again", labelled(counters.redis_retries),
                 ("what",))  # fmt: skip


def _by_source(name: str, text: str, counts: Mapping[Source, int]) -> Family:
    return Family("counter", name, text, {(source,): counts[source] for source in get_args(Source)}, ("source",))
