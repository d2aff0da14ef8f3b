"""What an io-node counts, in the form of `/metrics`. Pure.

Two equations hold at any moment:

    facts accepted = written + dropped + waiting
    deliveries     = written + dropped + waiting
"""

from collections.abc import Iterator
from dataclasses import dataclass

from io_node.bus.counters import BusCounters
from io_node.durations import Durations
from io_node.engineio.counters import EngineCounters
from io_node.engineio.http.request import REFUSALS
from io_node.socketio.counters import ClientCounters
from sio_cluster.node.monitoring.histogram import Histogram
from sio_cluster.node.monitoring.metrics import AnyFamily, Family, HistogramFamily, labelled
from sio_cluster.protocol import reasons


@dataclass(frozen=True, slots=True)
class Counts:
    clients: ClientCounters
    bus: BusCounters
    engine: EngineCounters
    durations: Durations
    pauses: int


@dataclass(frozen=True, slots=True)
class Levels:
    """What there is at this moment."""

    ready: bool
    clients: int
    connections: int
    connects_waiting: int
    facts_waiting: int
    deliveries_waiting: int
    uplink_waiting_bytes: int
    downlink_waiting_bytes: int
    connections_paused: int
    homes_adopted: int = 0
    own_log_bytes: int = 0
    own_log_entries: int = 0
    adopted_log_bytes: int = 0
    adopted_log_entries: int = 0
    recovery_window_s: float = 0.0


def families(counts: Counts, levels: Levels) -> Iterator[AnyFamily]:
    """All metrics of the node. Constant names, each with a fixed set of labels."""
    yield from _facts(counts.clients, counts.bus, levels)
    yield from _inputs(counts.clients, counts.engine)
    yield from _commands(counts.clients, counts.bus)
    yield from _deliveries(counts.clients, counts.engine, levels)
    yield from _clients(counts.clients, counts.engine, levels)
    yield from _recovery(counts.clients, counts.bus, levels)
    yield from _redis(counts, levels)
    yield from _durations(counts.durations)
    yield HistogramFamily(
        "sio_io_round_trip_seconds",
        "From a PING to the client's PONG",
        {(transport,): histogram for transport, histogram in sorted(counts.engine.round_trips.items())},
        ("transport",),
    )


def _facts(clients: ClientCounters, bus: BusCounters, levels: Levels) -> Iterator[Family]:
    accepted = {
        "connected": clients.connected,
        "event": clients.events,
        "ack": clients.acks_received,
        "missed": clients.acks_missed,
        "expected": clients.asked_many,
        "upgraded": clients.upgraded,
        "room": clients.rooms_changed,
        "disconnected": clients.disconnected.total() + clients.phantoms,
    }
    yield Family(
        "counter", "sio_io_facts_accepted", "Facts of clients that this node took", labelled(accepted), ("kind",)
    )
    yield _counter("sio_io_facts_written", "Facts that are in Redis, in lanes or inboxes of app-nodes",
                   bus.facts_appended)  # fmt: skip
    yield _counter(
        "sio_io_acks_written",
        "Facts in Redis that went to app-nodes: answers, that none will come, and who was asked",
        bus.acks_appended,
    )
    yield _by_reason(
        "sio_io_facts_dropped", "Facts that were given up", {"app_node_gone": 0, "misplaced": 0, **bus.facts_dropped}
    )
    yield _gauge("sio_io_facts_waiting", "Facts that Redis does not have yet", levels.facts_waiting)


def _inputs(clients: ClientCounters, engine: EngineCounters) -> Iterator[Family]:
    refused = {
        "malformed": engine.malformed,
        "unexpected_ack": clients.unexpected_acks,
        "too_many_namespaces": clients.too_many_namespaces,
        "late_packet": clients.late_packets,
        "left_waiting": clients.left_waiting,
        "left_claiming": clients.claims_left,
    }
    yield _by_reason("sio_io_inputs_refused", "Packets of clients that this node refused", refused)
    requests = dict.fromkeys((refusal.message for refusal in REFUSALS), 0) | engine.refused
    yield _by_reason("sio_io_requests_refused", "HTTP requests and upgrades that this node refused", requests)


def _commands(clients: ClientCounters, bus: BusCounters) -> Iterator[Family]:
    dropped = {"unknown_sid": clients.unknown_sid}
    yield _counter("sio_io_commands_read", "Commands that app-nodes sent", bus.commands_read - clients.canaries)
    yield _by_reason("sio_io_commands_dropped", "Commands that had no effect", dropped)
    yield _counter("sio_io_batches_read", "Inbox entries that were carried out", bus.batches_read)
    yield _counter("sio_io_batches_malformed", "Inbox entries that could not be decoded", bus.malformed_batches)
    yield _counter("sio_io_batches_read_before", "Inbox entries that came again after Redis had lost its data",
                   bus.batches_read_before)  # fmt: skip
    yield _counter("sio_io_questions_forgotten", "Questions given up because their client owes too many answers",
                   clients.forgotten_acks)  # fmt: skip
    yield _counter("sio_io_phantoms", "Clients that the application accepted after they had left", clients.phantoms)


def _deliveries(clients: ClientCounters, engine: EngineCounters, levels: Levels) -> Iterator[Family]:
    dropped = {"volatile": 0, "slow_consumer": 0, "connection_closed": 0, **engine.dropped}
    dropped["held_dropped"] = clients.held_dropped
    deliveries = clients.emit_deliveries + clients.acks_sent + clients.controls
    yield _counter("sio_io_emits", "Emit commands carried out", clients.emits)
    yield _counter("sio_io_deliveries", "Packets for clients, each counted once for each client", deliveries)
    yield _counter("sio_io_deliveries_written", "Packets written to a WebSocket or to an HTTP response", engine.written)
    yield _by_reason("sio_io_deliveries_dropped", "Packets that were dropped", dropped)
    yield _gauge("sio_io_deliveries_waiting", "Packets that wait to be written", levels.deliveries_waiting)
    yield _gauge("sio_io_downlink_waiting_bytes", "Bytes for clients that wait in this node",
                 levels.downlink_waiting_bytes)  # fmt: skip


def _clients(clients: ClientCounters, engine: EngineCounters, levels: Levels) -> Iterator[Family]:
    yield _gauge("sio_io_clients", "Clients that are joined or pending", levels.clients)
    never = dict.fromkeys(reasons.ALL, 0)
    yield _by_reason("sio_io_clients_closed", "Clients gone", {**never, **clients.disconnected})
    yield _counter("sio_io_clients_accepted", "Clients that the application let in", clients.accepted)
    yield _counter("sio_io_clients_refused", "Clients that the application refused", clients.refused)
    yield _gauge("sio_io_connects_waiting", "CONNECTs held back by CONNECT_RATE", levels.connects_waiting)
    yield _gauge("sio_io_connections", "Engine.IO connections now", levels.connections)
    yield _counter("sio_io_connections_opened", "Engine.IO connections since the start", engine.opened)
    yield _by_reason("sio_io_connections_closed", "Engine.IO connections gone", {**never, **engine.closed})
    yield _by_transport("sio_io_received_bytes", "Bytes from clients: WebSocket frames, and bodies of POSTs",
                        engine.websocket_received_bytes, engine.polling_received_bytes)  # fmt: skip
    yield _by_transport("sio_io_sent_bytes", "Bytes for clients: WebSocket frames, and payloads of polls",
                        engine.websocket_sent_bytes, engine.polling_sent_bytes)  # fmt: skip
    yield _counter("sio_io_upgrades", "Connections that moved from polling to WebSocket", engine.upgraded)
    slow = {"stalled": 0, "buffer_full": 0, "home_log_full": 0, **engine.slow_consumers}
    yield _by_reason("sio_io_slow_consumers", "Connections closed because their client took too little", slow)


def _recovery(clients: ClientCounters, bus: BusCounters, levels: Levels) -> Iterator[Family]:
    refused = dict.fromkeys(("error", "gone", "home", "future", "malformed", "pending", "window", "wrong"), 0)
    refused |= clients.claims_refused
    results: dict[tuple[str, ...], float] = {
        ("recovered", ""): clients.recovered,
        **{("refused", why): count for why, count in refused.items()},
    }
    yield Family(
        "counter", "sio_io_recoveries", "Clients that came back and showed a pid", results, ("result", "reason")
    )
    yield _counter("sio_io_messages_replayed", "Messages that clients had missed, and were given", clients.replayed)
    yield _counter("sio_io_connections_evicted", "Connections closed because their client came back on another one",
                   clients.evicted)  # fmt: skip
    yield _gauge("sio_io_homes_adopted", "Homes of other io-nodes whose clients came back here", levels.homes_adopted)
    yield _by_home("sio_io_home_log_bytes", "What logs of homes take in memory",
                   levels.own_log_bytes, levels.adopted_log_bytes)  # fmt: skip
    yield _by_home("sio_io_home_log_entries", "Entries of inboxes in these logs",
                   levels.own_log_entries, levels.adopted_log_entries)  # fmt: skip
    yield _counter("sio_io_home_logs_loaded", "How often the log of a home was read for clients that came back",
                   bus.home_logs_loaded)  # fmt: skip
    yield _gauge("sio_io_recovery_window_seconds", "For how long a client may have been away and miss nothing",
                 levels.recovery_window_s)  # fmt: skip


def _redis(counts: Counts, levels: Levels) -> Iterator[Family]:
    bus = counts.bus
    retries = {"uplink": 0, "downlink": 0, "heartbeat": 0, **bus.redis_retries}
    yield _gauge("sio_io_ready", "1 while the node can serve", int(levels.ready))
    yield _gauge("sio_io_uplink_waiting_bytes", "Bytes of facts that wait for Redis", levels.uplink_waiting_bytes)
    yield _gauge("sio_io_connections_paused", "Connections that are not read for now", levels.connections_paused)
    yield _counter("sio_io_pauses", "How often reading from a connection was paused", counts.pauses)
    yield _counter("sio_io_streams_full", "Appends put off because a stream was full", bus.streams_full)
    yield _counter("sio_io_batches_written", "Entries that are in Redis, in lanes or inboxes", bus.batches_appended)
    yield _counter("sio_io_batches_repeated", "Appends repeated after a lost answer", bus.batches_repeated)
    yield Family("counter", "sio_io_redis_retries", "Operations that were tried again", labelled(retries), ("what",))
    yield _counter("sio_io_redis_full", "Writes that Redis refused because it was out of memory", bus.redis_full)
    yield _counter("sio_io_redis_data_lost", "How often Redis had lost its data", bus.data_lost)
    yield _counter("sio_io_declared_lost", "How often the cluster took this node for dead", bus.declared_lost)


def _durations(durations: Durations) -> Iterator[HistogramFamily]:
    yield _seconds("sio_io_uplink_wait_seconds", "From the first fact of an entry until Redis has the entry",
                   durations.uplink_wait)  # fmt: skip
    yield _seconds(
        "sio_io_inbox_wait_seconds",
        "From Redis taking an entry of this node's inbox until its commands are carried out",
        durations.inbox_wait,
    )
    yield _seconds("sio_io_fan_out_seconds", "Carrying out the commands of one inbox entry", durations.fan_out)
    yield _seconds("sio_io_loop_lag_seconds", "By how much the event loop is late", durations.loop_lag)


def _seconds(name: str, help: str, histogram: Histogram) -> HistogramFamily:
    return HistogramFamily(name, help, {(): histogram})


def _counter(name: str, help: str, value: float) -> Family:
    return Family("counter", name, help, {(): value})


def _gauge(name: str, help: str, value: float) -> Family:
    return Family("gauge", name, help, {(): value})


def _by_reason(name: str, help: str, counts: dict[str, int]) -> Family:
    return Family("counter", name, help, labelled(counts), ("reason",))


def _by_transport(name: str, help: str, websocket: int, polling: int) -> Family:
    return Family("counter", name, help, labelled({"websocket": websocket, "polling": polling}), ("transport",))


def _by_home(name: str, help: str, own: int, adopted: int) -> Family:
    return Family("gauge", name, help, labelled({"own": own, "adopted": adopted}), ("home",))
