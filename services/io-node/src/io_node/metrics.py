"""The ledger of an io-node, and what operators need, for `/metrics`. Pure.

These balance at any time:

    facts accepted = written + dropped + waiting
    deliveries     = written + dropped + waiting
"""

from collections.abc import Iterator
from dataclasses import dataclass

from io_node.bus.counters import BusCounters
from io_node.engineio.limits import EngineCounters
from io_node.socketio.counters import ClientCounters
from sio_cluster.node.metrics import Family, labelled


@dataclass(frozen=True, slots=True)
class Counts:
    clients: ClientCounters
    bus: BusCounters
    engine: EngineCounters


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
    connections_paused: int


def families(counts: Counts, levels: Levels) -> Iterator[Family]:
    """All metrics of the node. Constant names, each with a fixed set of labels."""
    yield from _facts(counts.clients, counts.bus, levels)
    yield from _inputs(counts.clients, counts.engine)
    yield from _commands(counts.clients, counts.bus)
    yield from _deliveries(counts.clients, counts.engine, levels)
    yield from _clients(counts.clients, counts.engine, levels)
    yield from _redis(counts.bus, levels)


def _facts(clients: ClientCounters, bus: BusCounters, levels: Levels) -> Iterator[Family]:
    accepted = {
        "connected": clients.connected,
        "event": clients.events,
        "ack": clients.acks,
        "upgraded": clients.upgraded,
        "disconnected": clients.disconnected.total() + clients.phantoms,
    }
    yield Family(
        "counter", "sio_io_facts_accepted", "Facts of clients put into the uplink", labelled(accepted), ("kind",)
    )
    yield _counter("sio_io_facts_written", "Facts that are in Redis, those for inboxes of app-nodes too",
                   bus.facts_appended)  # fmt: skip
    yield _counter("sio_io_acks_written", "Of these, answers to app-nodes that asked", bus.acks_appended)
    yield _by_reason("sio_io_facts_dropped", "Facts given up", {"app_node_gone": bus.facts_dropped})
    yield _gauge("sio_io_facts_waiting", "Facts that Redis does not have yet", levels.facts_waiting)


def _inputs(clients: ClientCounters, engine: EngineCounters) -> Iterator[Family]:
    refused = {
        "malformed": engine.malformed,
        "unexpected_ack": clients.unexpected_acks,
        "too_many_namespaces": clients.too_many_namespaces,
        "late_packet": clients.late_packets,
        "left_waiting": clients.left_waiting,
    }
    yield _by_reason("sio_io_inputs_refused", "What clients sent and this node turned away", refused)
    yield _by_reason("sio_io_requests_refused", "HTTP requests and upgrades turned away", engine.refused)


def _commands(clients: ClientCounters, bus: BusCounters) -> Iterator[Family]:
    dropped = {"unknown_sid": clients.unknown_sid}
    yield _counter("sio_io_commands_read", "Commands of app-nodes", bus.commands_read - clients.canaries)
    yield _by_reason("sio_io_commands_dropped", "Commands without effect", dropped)
    yield _counter("sio_io_batches_malformed", "Inbox entries that cannot be read", bus.malformed_batches)
    yield _counter("sio_io_batches_read_before", "Inbox entries that came again after Redis had lost its data",
                   bus.batches_read_before)  # fmt: skip
    yield _counter("sio_io_questions_forgotten", "Questions to clients that owe too many answers",
                   clients.forgotten_acks)  # fmt: skip
    yield _counter("sio_io_phantoms", "Accepted clients that are not here", clients.phantoms)


def _deliveries(clients: ClientCounters, engine: EngineCounters, levels: Levels) -> Iterator[Family]:
    dropped = {"volatile": 0, "slow_consumer": 0, "connection_closed": 0, **engine.dropped}
    dropped["held_dropped"] = clients.held_dropped
    deliveries = clients.deliveries + clients.answers + clients.controls
    yield _counter("sio_io_emits", "Emit commands carried out", clients.emits)
    yield _counter("sio_io_deliveries", "Packets for connections, one for each client that one is for", deliveries)
    yield _counter("sio_io_deliveries_written", "Packets handed to a socket or an HTTP answer", engine.written)
    yield _by_reason("sio_io_deliveries_dropped", "Packets that were not", dropped)
    yield _gauge("sio_io_deliveries_waiting", "Packets that wait", levels.deliveries_waiting)


def _clients(clients: ClientCounters, engine: EngineCounters, levels: Levels) -> Iterator[Family]:
    yield _gauge("sio_io_clients", "Clients: namespaces of connections, joined or pending", levels.clients)
    yield _by_reason("sio_io_clients_closed", "Clients gone", clients.disconnected)
    yield _counter("sio_io_clients_accepted", "Clients let in by the application", clients.accepted)
    yield _counter("sio_io_clients_refused", "Clients turned away by the application", clients.refused)
    yield _gauge("sio_io_connects_waiting", "CONNECTs held back by CONNECT_RATE", levels.connects_waiting)
    yield _gauge("sio_io_connections", "Engine.IO connections", levels.connections)
    yield _counter("sio_io_connections_opened", "Engine.IO connections since the start", engine.opened)
    yield _by_reason("sio_io_connections_closed", "Engine.IO connections gone", engine.closed)
    yield _counter("sio_io_upgrades", "Connections that went over to WebSocket", engine.upgraded)
    yield _counter("sio_io_slow_consumers", "Connections closed because they do not read", engine.slow_consumers)


def _redis(bus: BusCounters, levels: Levels) -> Iterator[Family]:
    retries = {"uplink": bus.uplink_retries, "downlink": bus.downlink_retries, "heartbeat": bus.heartbeats_failed}
    yield _gauge("sio_io_ready", "1 while the node can serve", int(levels.ready))
    yield _gauge("sio_io_uplink_waiting_bytes", "Bytes of facts that wait", levels.uplink_waiting_bytes)
    yield _gauge("sio_io_connections_paused", "Connections not read for now", levels.connections_paused)
    yield _counter("sio_io_pauses", "How often reading from a connection was paused", bus.pauses)
    yield _counter("sio_io_streams_full", "Appends put off because a stream was full", bus.streams_full)
    yield _counter("sio_io_batches_repeated", "Entries that Redis already had", bus.batches_repeated)
    yield Family("counter", "sio_io_redis_retries", "Operations tried again", labelled(retries), ("what",))
    yield _counter("sio_io_redis_full", "Writes that Redis refused for want of memory", bus.redis_full)
    yield _counter("sio_io_redis_data_lost", "How often Redis had lost its data", bus.data_lost)
    yield _counter("sio_io_declared_lost", "How often the cluster took this node for dead", bus.declared_lost)


def _counter(name: str, help: str, value: float) -> Family:
    return Family("counter", name, help, {(): value})


def _gauge(name: str, help: str, value: float) -> Family:
    return Family("gauge", name, help, {(): value})


def _by_reason(name: str, help: str, counts: dict[str, int]) -> Family:
    return Family("counter", name, help, labelled(counts), ("reason",))
