"""Io-nodes: connections, what comes from clients and goes to them, what waits, and clients that come back."""

from observe.boards.process import process_row
from observe.dashboard import Dashboard, Row
from observe.panels import Line, heatmap, timeseries
from observe.queries import quantile, rate, total

NODES = 'job="io-node", instance=~"$instance"'
EACH = "{{instance}}"


def _connections() -> Row:
    return Row(
        "Connections and clients",
        [
            timeseries(
                "Connections", [Line(total("sio_io_connections", NODES, "instance"), EACH)], "short", stacked=True
            ),
            timeseries(
                "Clients",
                [Line(total("sio_io_clients", NODES, "instance"), EACH)],
                "short",
                "One for each namespace that a connection has joined.",
                stacked=True,
            ),
            timeseries(
                "Opened, upgraded, closed",
                [
                    Line(rate("sio_io_connections_opened_total", NODES), "opened"),
                    Line(rate("sio_io_upgrades_total", NODES), "moved from polling to WebSocket"),
                    Line(rate("sio_io_connections_closed_total", NODES, "reason"), "closed: {{reason}}"),
                ],
                "cps",
            ),
            timeseries(
                "Let in, refused, gone",
                [
                    Line(rate("sio_io_clients_accepted_total", NODES), "let in"),
                    Line(rate("sio_io_clients_refused_total", NODES), "refused"),
                    Line(rate("sio_io_phantoms_total", NODES), "let in after they had left"),
                    Line(rate("sio_io_clients_closed_total", NODES, "reason"), "gone: {{reason}}"),
                ],
                "cps",
                "Of clients. docs/operations.md has a table of the reasons.",
            ),
            timeseries(
                "Waiting for CONNECT_RATE", [Line(total("sio_io_connects_waiting", NODES, "instance"), EACH)], "short"
            ),
            timeseries(
                "Refused at the door",
                [
                    Line(rate("sio_io_requests_refused_total", NODES, "reason"), "HTTP: {{reason}}"),
                    Line(rate("sio_io_inputs_refused_total", NODES, "reason"), "input: {{reason}}"),
                ],
                "cps",
            ),
        ],
    )


def _uplink() -> Row:
    wait = "sio_io_uplink_wait_seconds"
    return Row(
        "Uplink: from clients to Redis",
        [
            timeseries(
                "Facts taken",
                [Line(rate("sio_io_facts_accepted_total", NODES, "kind"), "{{kind}}")],
                "cps",
                stacked=True,
            ),
            timeseries(
                "Facts written and dropped",
                [
                    Line(rate("sio_io_facts_written_total", NODES), "written"),
                    Line(rate("sio_io_acks_written_total", NODES), "of these, to app-nodes"),
                    Line(rate("sio_io_facts_dropped_total", NODES, "reason"), "dropped: {{reason}}"),
                ],
                "cps",
            ),
            timeseries(
                "Facts that wait for Redis", [Line(total("sio_io_facts_waiting", NODES, "instance"), EACH)], "short"
            ),
            timeseries(
                "Bytes that wait for Redis",
                [Line(total("sio_io_uplink_waiting_bytes", NODES, "instance"), EACH)],
                "bytes",
                "At UPLINK_BUFFER_BYTES the node stops reading from its clients.",
            ),
            timeseries(
                "Until Redis has an entry", [Line(quantile(0.99, wait, NODES, "instance"), f"{EACH}, 99 %")], "s"
            ),
            timeseries(
                "Connections not read",
                [
                    Line(total("sio_io_connections_paused", NODES, "instance"), f"{EACH}: now"),
                    Line(rate("sio_io_pauses_total", NODES, "instance"), f"{EACH}: pauses per second"),
                ],
                "short",
            ),
        ],
    )


def _downlink() -> Row:
    inbox, fan_out = "sio_io_inbox_wait_seconds", "sio_io_fan_out_seconds"
    return Row(
        "Downlink: from Redis to clients",
        [
            timeseries(
                "Commands and packets",
                [
                    Line(rate("sio_io_commands_read_total", NODES), "commands read"),
                    Line(rate("sio_io_emits_total", NODES), "of these, emits"),
                    Line(rate("sio_io_deliveries_total", NODES), "packets for clients"),
                    Line(rate("sio_io_deliveries_written_total", NODES), "packets written"),
                ],
                "cps",
            ),
            timeseries(
                "Dropped",
                [
                    Line(rate("sio_io_deliveries_dropped_total", NODES, "reason"), "packets: {{reason}}"),
                    Line(rate("sio_io_commands_dropped_total", NODES, "reason"), "commands: {{reason}}"),
                    Line(rate("sio_io_questions_forgotten_total", NODES), "questions forgotten"),
                ],
                "cps",
            ),
            timeseries(
                "Packets that wait for clients",
                [Line(total("sio_io_deliveries_waiting", NODES, "instance"), EACH)],
                "short",
            ),
            timeseries(
                "Bytes that wait for clients",
                [Line(total("sio_io_downlink_waiting_bytes", NODES, "instance"), EACH)],
                "bytes",
                "At DOWNLINK_BUFFER_BYTES the node closes the clients for which most waits.",
            ),
            timeseries(
                "Closed as slow", [Line(rate("sio_io_slow_consumers_total", NODES, "reason"), "{{reason}}")], "cps"
            ),
            timeseries(
                "An entry waits in the inbox", [Line(quantile(0.99, inbox, NODES, "instance"), f"{EACH}, 99 %")], "s"
            ),
            timeseries(
                "Fan-out of an entry",
                [Line(quantile(0.99, fan_out, NODES, "instance"), f"{EACH}, 99 %")],
                "s",
                "It takes a microsecond or two for each client.",
            ),
            heatmap("Fan-out of entries", rate(f"{fan_out}_bucket", NODES, "le")),
        ],
        across=4,
    )


def _recovery() -> Row:
    return Row(
        "Clients that come back",
        [
            timeseries(
                "Claims by result and reason",
                [Line(rate("sio_io_recoveries_total", NODES, "result, reason"), "{{result}} {{reason}}")],
                "cps",
                "docs/operations.md has a table of the reasons for which a claim is refused.",
            ),
            timeseries(
                "Messages and connections",
                [
                    Line(rate("sio_io_messages_replayed_total", NODES), "messages given again"),
                    Line(rate("sio_io_connections_evicted_total", NODES), "former connections closed"),
                    Line(rate("sio_io_home_logs_loaded_total", NODES), "logs loaded"),
                ],
                "cps",
            ),
            timeseries(
                "How far the log goes back",
                [Line(total("sio_io_recovery_window_seconds", NODES, "instance"), EACH)],
                "s",
                "Below RECOVERY_WINDOW_MS for long: RECOVERY_MAX_BYTES is too small.",
            ),
            timeseries(
                "Logs in memory",
                [Line(total("sio_io_home_log_bytes", NODES, "instance, home"), f"{EACH}: {{{{home}}}}")],
                "bytes",
            ),
            timeseries(
                "Entries of these logs",
                [Line(total("sio_io_home_log_entries", NODES, "instance, home"), f"{EACH}: {{{{home}}}}")],
                "short",
            ),
            timeseries("Homes adopted", [Line(total("sio_io_homes_adopted", NODES, "instance"), EACH)], "short"),
        ],
    )


def _network() -> Row:
    trip = "sio_io_round_trip_seconds"
    return Row(
        "The way to the clients",
        [
            timeseries(
                "Bytes from clients",
                [Line(rate("sio_io_received_bytes_total", NODES, "transport"), "{{transport}}")],
                "bytes",
                "A second.",
            ),
            timeseries(
                "Bytes to clients",
                [Line(rate("sio_io_sent_bytes_total", NODES, "transport"), "{{transport}}")],
                "bytes",
                "A second.",
            ),
            timeseries(
                "PING to PONG takes less than",
                [
                    Line(quantile(share, trip, NODES, "transport"), f"{{{{transport}}}}, {share:.0%}")
                    for share in (0.5, 0.99)
                ],
                "s",
                "A client that polls answers with its next POST.",
            ),
        ],
    )


BOARD = Dashboard(
    "sio-io-nodes",
    "Socket.IO Cluster: io-nodes",
    "What each io-node holds, takes and gives.",
    [
        _connections(),
        _network(),
        _uplink(),
        _downlink(),
        _recovery(),
        process_row("io-node", "sio_io_loop_lag_seconds"),
    ],
    job="io-node",
)
