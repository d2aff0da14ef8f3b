"""What `/metrics` of an app-node answers. The equations that these counts keep are in docs/reliability.md.

facts read = handled + refused + abandoned + in work
commands emitted = written + dropped + waiting
"""

from collections.abc import Iterator

from app_node.app import AppNode
from app_node.counters import Counters
from sio_cluster.node.metrics import Family, exposition, labelled


def metrics_of(node: AppNode) -> bytes:
    """All counts of this app-node's life."""
    return exposition([*_facts(node), *_commands(node), *_lanes(node), *_clients(node.counters)])


def _facts(node: AppNode) -> Iterator[Family]:
    counters = node.counters
    again, new = counters["facts_read_again"], counters["facts_read"]
    yield Family(
        "counter",
        "sio_app_facts_read",
        "Facts read from lanes; redelivered: a former holder was given them",
        {("0",): new, ("1",): again},
        ("redelivered",),
    )
    yield _by(counters, "handled", "sio_app_facts_handled", "Facts whose handling has ended", "kind")
    yield _by(counters, "refused", "sio_app_facts_refused", "Facts that cannot be handled", "reason")
    yield _by(counters, "abandoned", "sio_app_facts_abandoned", "Facts left to the lane's next holder", "reason")
    yield _gauge("sio_app_facts_in_work", "Facts read whose handling has not ended", node.consumer.facts_in_work)
    yield _gauge("sio_app_bytes_in_work", "What they weigh, see MAX_INFLIGHT_BYTES", node.consumer.inflight_bytes)
    yield _count(counters, "handlers_failed", "Handlers that raised")
    yield _count(counters, "dead_letters", "Lane entries that could not be decoded, set aside")
    yield _count(counters, "dead_letters_lost", "The oldest of them, gone for good since their lane has too many")


def _commands(node: AppNode) -> Iterator[Family]:
    counters, outbox = node.counters, node.outbox
    yield Family("counter", "sio_app_commands_emitted", "Commands, one for each inbox", {(): outbox.emitted})
    yield _count(counters, "commands_written", "Commands that Redis has taken")
    yield _by(counters, "commands_dropped", "sio_app_commands_dropped", "Commands that were given up", "reason")
    yield _gauge("sio_app_commands_waiting", "Commands on their way to Redis", outbox.waiting)
    yield _count(counters, "appends_barred", "Appends refused since a lane of ours was taken over")
    yield _count(counters, "inbox_full", "Appends refused by an inbox that is full")
    yield _count(counters, "recipients_gone", "Commands for a sid whose io-node is gone: they go to no inbox")
    yield _by(counters, "retries", "sio_app_redis_retries", "Operations tried again", "what")


def _lanes(node: AppNode) -> Iterator[Family]:
    counters = node.counters
    yield _gauge("sio_app_lanes_held", "Lanes whose lease this app-node has", len(node.keeper.held))
    yield _count(counters, "lanes_lost", "Lanes whose lease ran out or was taken over")
    yield _count(counters, "holders_barred", "Former holders kept from appending when their lane was taken over")
    yield _count(counters, "records_fenced", "Changes of records without effect, since the lane is another's by now")
    yield _count(counters, "io_nodes_lost", "Lost io-nodes whose clients were disconnected here")
    yield _count(counters, "reaper_facts_written", "Facts written to lanes for clients of lost io-nodes")


def _clients(counters: Counters) -> Iterator[Family]:
    yield _count(counters, "clients_accepted", "Clients that the application let in")
    yield _count(counters, "clients_refused", "Clients that it turned away")
    yield _count(counters, "clients_restored", "Clients brought back from their record")
    yield _count(counters, "clients_disconnected", "Clients whose disconnect was handled")
    yield _count(counters, "acks_received", "Answers of clients")
    yield _by(counters, "acks_refused", "sio_app_acks_refused", "Answers of clients that nobody waits for", "reason")
    yield _count(counters, "callbacks_given_up", "Callbacks that waited for too long a row of others")


def _count(counters: Counters, name: str, text: str) -> Family:
    return Family("counter", f"sio_app_{name}", text, {(): counters[name]})


def _gauge(name: str, text: str, value: float) -> Family:
    return Family("gauge", name, text, {(): value})


def _by(counters: Counters, family: str, name: str, text: str, label: str) -> Family:
    return Family("counter", name, text, labelled(counters.family(family)), (label,))
