"""Writes down what an app-node counts, as `/metrics` answers it. The names are an interface: dashboards use them.

At any moment these hold (docs/reliability.md):

    facts read       = handled + refused + abandoned + in work
    commands emitted = written + dropped + waiting
"""

from collections.abc import Iterator
from dataclasses import dataclass

from app_node.counters import OUTCOMES, Counters
from app_node.durations import Durations
from app_node.membership.redis_use import NOTHING, RedisUse
from sio_cluster.node.monitoring.histogram import Histogram
from sio_cluster.node.monitoring.metrics import AnyFamily, Family, HistogramFamily, labelled


@dataclass(frozen=True, slots=True)
class Levels:
    """What there is at this moment, and what its parts count themselves."""

    ready: bool
    facts_in_work: int
    bytes_in_work: int
    commands_emitted: int
    commands_waiting: int
    lanes: int
    lanes_held: int
    parked_homes: int
    clients_absent: int
    redis: RedisUse = NOTHING


def families(counters: Counters, levels: Levels) -> Iterator[AnyFamily]:
    """All metrics of an app-node. Constant names, each with a fixed set of labels.

    What may go wrong is there from the start, as 0: `increase` does not see the first value of a series.
    """
    yield from _facts(counters, levels)
    yield from _commands(counters, levels)
    yield from _lanes(counters, levels)
    yield from _homes(counters, levels)
    yield from _clients(counters)
    yield from _redis(levels.redis)
    yield from _durations(counters.durations)


def _facts(counters: Counters, levels: Levels) -> Iterator[Family]:
    yield Family(
        "counter",
        "sio_app_facts_read",
        "Facts read from lanes; redelivered=1: a former holder of the lane was given them too",
        {("0",): counters.facts_read, ("1",): counters.facts_read_again},
        ("redelivered",),
    )
    yield _count(
        "sio_app_facts_done_before",
        "Facts not handled again, since a former holder of the lane had handled them",
        counters.facts_done_before,
    )
    handled, refused, abandoned = (_ended(counters, end) for end in ("handled", "refused", "abandoned"))
    yield _by("kind", "sio_app_facts_handled", "Facts whose handling has ended", handled)
    yield _by("reason", "sio_app_facts_refused", "Facts that cannot be handled", refused)
    yield _by("reason", "sio_app_facts_abandoned", "Facts left to the lane's next holder", abandoned)
    yield _gauge("sio_app_facts_in_work", "Facts read whose handling has not ended", levels.facts_in_work)
    yield _gauge(
        "sio_app_bytes_in_work",
        "Bytes of the lane entries in work, bounded by MAX_INFLIGHT_BYTES",
        levels.bytes_in_work,
    )
    yield _count("sio_app_handlers_failed", "Handlers that raised", counters.handlers_failed)
    yield _count(
        "sio_app_handlers_blocked",
        "Times that the event loop stood still for HANDLER_BLOCK_MS",
        counters.handlers_blocked,
    )
    yield _count(
        "sio_app_facts_quarantined",
        "Facts moved to their lane's quarantine: they were taken over unfinished twice",
        counters.facts_quarantined,
    )
    yield _count("sio_app_waits_for_handlers", "How often reading paused at MAX_INFLIGHT_BYTES",
                 counters.waits_for_handlers)  # fmt: skip
    yield _count("sio_app_entries_committed", "Lane entries that are done and were removed", counters.entries_committed)
    yield _count("sio_app_entries_malformed", "Lane entries that could not be decoded", counters.entries_malformed)
    yield _count("sio_app_dead_letters", "Lane entries that were set aside", counters.dead_letters)
    yield _count(
        "sio_app_dead_letters_lost",
        "Dead letters deleted, the oldest first, since their lane had too many",
        counters.dead_letters_lost,
    )


def _commands(counters: Counters, levels: Levels) -> Iterator[Family]:
    yield _count(
        "sio_app_commands_emitted",
        "Commands of the application, counted once for each inbox that one goes to",
        levels.commands_emitted,
    )
    yield _count("sio_app_commands_written", "Commands that Redis has taken", counters.commands_written)
    yield _count(
        "sio_app_commands_for_nobody",
        "Commands that Redis did not take, as they are for rooms without members at that io-node",
        counters.commands_for_nobody,
    )
    dropped = {"lane_lost": 0, "node_gone": 0, "taken_back": 0, **counters.commands_dropped}
    yield _by("reason", "sio_app_commands_dropped", "Commands that were given up", dropped)
    yield _gauge("sio_app_commands_waiting", "Commands on their way to Redis", levels.commands_waiting)
    yield _count(
        "sio_app_appends_barred",
        "Appends that Redis refused since another app-node had taken over one of our lanes",
        counters.appends_barred,
    )
    yield _count("sio_app_inbox_full", "Appends refused by an inbox that is full", counters.inbox_full)
    yield _count(
        "sio_app_recipients_gone",
        "Commands for a sid whose io-node is gone: they go to no inbox",
        counters.recipients_gone,
    )
    yield _gauge("sio_app_ready", "1 while the node can serve", int(levels.ready))
    yield _by("what", "sio_app_redis_retries", "Operations tried again", counters.redis_retries)


def _lanes(counters: Counters, levels: Levels) -> Iterator[Family]:
    yield _gauge("sio_app_lanes", "Lanes of the cluster: LANES", levels.lanes)
    yield _gauge("sio_app_lanes_held", "Lanes whose lease this app-node has", levels.lanes_held)
    yield _count("sio_app_lanes_lost", "Lanes whose lease ran out or was taken over", counters.lanes_lost)
    yield _count(
        "sio_app_holders_barred",
        "Former holders of our lanes whose late appends Redis refuses now",
        counters.holders_barred,
    )
    yield _count(
        "sio_app_records_fenced",
        "Changes of client records that Redis refused since the lane is another app-node's now",
        counters.records_fenced,
    )
    yield _count("sio_app_io_nodes_lost", "Lost io-nodes whose clients were disconnected here", counters.io_nodes_lost)
    yield _count(
        "sio_app_reaper_facts_written",
        "Disconnects written to lanes for clients of lost io-nodes, or that have not come back in time",
        counters.reaper_facts_written,
    )


def _homes(counters: Counters, levels: Levels) -> Iterator[Family]:
    yield _gauge(
        "sio_app_parked_homes",
        "Inboxes kept without their io-node, as the app-node that holds lane 0 knows",
        levels.parked_homes,
    )
    yield _gauge(
        "sio_app_clients_absent",
        "Clients that are away or held by another io-node than their home, as the app-node that holds lane 0 knows",
        levels.clients_absent,
    )
    yield _count(
        "sio_app_parked_entries_forgotten",
        "Entries removed from parked inboxes, since they were too old or too many",
        counters.parked_entries_forgotten,
    )
    yield _count(
        "sio_app_parked_entries_malformed",
        "How often entries of a parked inbox could not be decoded: its clients cannot come back",
        counters.parked_entries_malformed,
    )


def _clients(counters: Counters) -> Iterator[Family]:
    yield _count("sio_app_clients_accepted", "Clients that the application let in", counters.clients_accepted)
    yield _count(
        "sio_app_clients_recovered",
        "Clients among them that have claimed their session back",
        counters.clients_recovered,
    )
    yield _count("sio_app_clients_refused", "Clients that the application turned away", counters.clients_refused)
    yield _count("sio_app_clients_restored", "Clients brought back from their record", counters.clients_restored)
    yield _count("sio_app_clients_disconnected", "Clients whose disconnect was handled", counters.clients_disconnected)
    yield _count(
        "sio_app_disconnects_implied",
        "Disconnects handled since the client had connected anew, before anybody said that it was gone",
        counters.disconnects_implied,
    )
    yield _count("sio_app_presence_news", "Metas that came or went, of which their rooms were told",
                 counters.presence_news)  # fmt: skip
    yield _count("sio_app_rooms_corrected", "Rooms of which an io-node was told what the client's record says",
                 counters.rooms_corrected)  # fmt: skip
    yield _count("sio_app_acks_received", "Answers of clients", counters.acks_received)
    acks_refused = {"unknown": 0, "malformed": 0, **counters.acks_refused}
    yield _by("reason", "sio_app_acks_refused", "Answers of clients that nobody waits for", acks_refused)
    yield _count("sio_app_acks_missed", "Questions to one client that will not be answered: it is gone",
                 counters.acks_missed)  # fmt: skip
    yield _count("sio_app_inbox_entries_malformed", "Entries of our own inbox that could not be decoded",
                 counters.inbox_entries_malformed)  # fmt: skip
    yield _count("sio_app_callbacks_failed", "Callbacks that raised", counters.callbacks_failed)
    yield _count(
        "sio_app_callbacks_given_up",
        "Callbacks dropped unanswered, the oldest first, since too many waited",
        counters.callbacks_given_up,
    )
    yield _count(
        "sio_app_calls_refused",
        "Calls that failed at once, since too many waited for the same client, or too many questions to many were open",
        counters.calls_refused,
    )
    results = {"handled": 0, "failed": 0, "unhandled": 0, "refused": 0, **counters.server_events}
    yield _by("result", "sio_app_server_events", "Events of app-nodes that came here", results)
    yield _count(
        "sio_app_answers_too_large",
        "Questions to many that failed, since the answers that waited weighed more than MAX_INFLIGHT_BYTES",
        counters.answers_too_large,
    )


def _redis(use: RedisUse) -> Iterator[Family]:
    """No values where another app-node has them."""
    memory = use.memory
    yield Family(
        "gauge",
        "sio_app_lane_bytes",
        "Bytes of entries in each lane, as the app-node that holds lane 0 knows",
        {(str(lane),): held for lane, held in use.lanes.items()},
        ("lane",),
    )
    yield Family(
        "gauge",
        "sio_app_inbox_bytes",
        "Bytes that wait in the inboxes of nodes of this name, as the app-node that holds lane 0 knows",
        {(kind, name): held for (kind, name), held in use.inboxes.items()},
        ("kind", "node"),
    )
    yield Family("gauge", "sio_app_redis_memory_used_bytes", "What Redis uses, as the app-node that holds lane 0 knows",
                 {(): memory.used_bytes} if memory else {})  # fmt: skip
    yield Family("gauge", "sio_app_redis_memory_max_bytes", "Redis' maxmemory; 0: no limit",
                 {(): memory.limit_bytes} if memory else {})  # fmt: skip


def _durations(durations: Durations) -> Iterator[HistogramFamily]:
    yield _seconds(
        "sio_app_lane_wait_seconds",
        "From Redis taking a lane entry until its facts go to their handlers",
        durations.lane_wait,
    )
    yield HistogramFamily(
        "sio_app_handler_seconds",
        "Handlers of the application, by event; other: an event that has no handler of its own",
        {(event,): histogram for event, histogram in sorted(durations.handlers.items())},
        ("event",),
    )
    yield _seconds(
        "sio_app_outbox_wait_seconds",
        "From the first command of an inbox entry until Redis has the entry",
        durations.outbox_wait,
    )
    yield _seconds("sio_app_loop_lag_seconds", "By how much the event loop is late", durations.loop_lag)


def _ended(counters: Counters, end: str) -> dict[str, int]:
    return {outcome.label: 0 for outcome in OUTCOMES if outcome.end == end} | counters.ended(end)


def _seconds(name: str, text: str, histogram: Histogram) -> HistogramFamily:
    return HistogramFamily(name, text, {(): histogram})


def _count(name: str, text: str, value: int) -> Family:
    return Family("counter", name, text, {(): value})


def _gauge(name: str, text: str, value: float) -> Family:
    return Family("gauge", name, text, {(): value})


def _by(label: str, name: str, text: str, counts: dict[str, int]) -> Family:
    return Family("counter", name, text, labelled(counts), (label,))
