"""The whole cluster on one page: is it well, how much does it do, how long does it take, what was lost."""

from observe.dashboard import Dashboard, Row
from observe.panels import GREEN, RED, YELLOW, Line, stat, table, text, timeseries
from observe.queries import quantile, rate, total

FIRING = 'ALERTS{alertstate="firing"}'


def _state() -> Row:
    none_is_bad, any_is_bad, neutral = {0: RED, 1: GREEN}, {0: GREEN, 1: RED}, {0: GREEN}
    return Row(
        "State",
        [
            stat("Io-nodes ready", total("sio_io_ready") + " or vector(0)", colours=none_is_bad),
            stat(
                "App-nodes ready",
                total("sio_app_ready", 'job="app-node"') + " or vector(0)",
                colours=none_is_bad,
            ),
            stat(
                "Lanes held",
                total("sio_app_lanes_held") + " or vector(0)",
                colours=none_is_bad,
                about="Of all app-nodes together.",
            ),
            stat(
                "Lanes that nobody holds",
                "max(sio_app_lanes) - sum(sio_app_lanes_held)",
                colours=any_is_bad,
                about="Their clients wait.",
            ),
            stat(
                "Clients",
                total("sio_io_clients"),
                colours=neutral,
                about="A connection has one client for each namespace that it joins.",
            ),
            stat("Connections", total("sio_io_connections"), colours=neutral),
            stat(
                "Connections not read",
                total("sio_io_connections_paused"),
                colours={0: GREEN, 1: YELLOW},
                about="The uplink or a lane is full, or these clients flood a lane.",
            ),
            stat("Alerts", f"count({FIRING}) or vector(0)", colours=any_is_bad),
            stat(
                "Counters that do not balance",
                "count(instance:sio_unaccounted != 0) or vector(0)",
                colours=any_is_bad,
                about="Each of them is a defect.",
            ),
        ],
        across=8,
        height=4,
    )


def _alerts() -> Row:
    columns = {"alertname": "Alert", "severity": "Severity", "job": "Kind of node", "instance": "Node"}
    return Row(
        "Alerts",
        [
            table("Firing now", FIRING, columns),
            text(
                "What to do",
                "Prometheus shows what has happened, and the section of `docs/operations.md` that says what to do: "
                "see *Alerts* on its own page. The other dashboards are linked above.",
            ),
        ],
        across=2,
        height=6,
    )


def _traffic() -> Row:
    return Row(
        "Traffic",
        [
            timeseries(
                "From clients",
                [Line(rate("sio_io_facts_accepted_total", by="kind"), "{{kind}}")],
                "cps",
                "Facts by kind: what clients said and did.",
                stacked=True,
            ),
            timeseries(
                "To clients",
                [
                    Line(rate("sio_io_deliveries_written_total"), "packets written"),
                    Line(rate("sio_io_deliveries_dropped_total"), "packets dropped"),
                    Line(rate("sio_io_emits_total"), "emits carried out"),
                ],
                "cps",
                "An emit to a room of 50 is one for each io-node, and 50 packets.",
            ),
            timeseries(
                "Connections",
                [
                    Line(rate("sio_io_connections_opened_total"), "opened"),
                    Line(rate("sio_io_connections_closed_total", by="reason"), "closed: {{reason}}"),
                ],
                "cps",
            ),
            timeseries(
                "Into lanes and out of them",
                [
                    Line("cluster:sio_lane_facts_written:rate5m", "written by io-nodes"),
                    Line("cluster:sio_lane_facts_read:rate5m", "read by app-nodes"),
                ],
                "cps",
                "Over 5 minutes. While more is written than read, events pile up in Redis.",
            ),
            timeseries(
                "Into inboxes and out of them",
                [
                    Line("cluster:sio_commands_written:rate5m", "written by app-nodes"),
                    Line("cluster:sio_commands_read:rate5m", "read by io-nodes"),
                ],
                "cps",
                "Over 5 minutes.",
            ),
            timeseries(
                "By how much counters do not balance",
                [Line("abs(instance:sio_unaccounted)", "{{instance}}: {{equation}}")],
                "short",
                "Always 0.",
            ),
        ],
    )


def _durations() -> Row:
    steps = {
        "1 io-node to Redis": "sio_io_uplink_wait_seconds",
        "2 in its lane": "sio_app_lane_wait_seconds",
        "3 handler": "sio_app_handler_seconds",
        "4 app-node to Redis": "sio_app_outbox_wait_seconds",
        "5 in its inbox": "sio_io_inbox_wait_seconds",
        "6 to all recipients": "sio_io_fan_out_seconds",
    }
    about = "The steps of an event and its answer."
    return Row(
        "How long it takes",
        [
            timeseries(
                f"{share:.0%} take less than",
                [Line(quantile(share, name), step) for step, name in steps.items()],
                "s",
                about,
            )
            for share in (0.5, 0.99)
        ],
        across=2,
    )


def _trouble() -> Row:
    return Row(
        "Refused, dropped, failed",
        [
            timeseries(
                "Of what clients send",
                [
                    Line(rate("sio_io_inputs_refused_total", by="reason"), "io-node: {{reason}}"),
                    Line(rate("sio_io_requests_refused_total", by="reason"), "HTTP: {{reason}}"),
                    Line(rate("sio_app_facts_refused_total", by="reason"), "app-node: {{reason}}"),
                    Line(rate("sio_io_facts_dropped_total", by="reason"), "dropped: {{reason}}"),
                ],
                "cps",
            ),
            timeseries(
                "Of what the application sends",
                [
                    Line(rate("sio_io_deliveries_dropped_total", by="reason"), "packets: {{reason}}"),
                    Line(rate("sio_app_commands_dropped_total", by="reason"), "commands: {{reason}}"),
                ],
                "cps",
            ),
            timeseries(
                "In handlers, and in Redis",
                [
                    Line(rate("sio_app_handlers_failed_total"), "handlers that raised"),
                    Line(rate("sio_app_handlers_blocked_total"), "handlers that blocked"),
                    Line(rate("sio_app_dead_letters_total"), "dead letters"),
                    Line(rate("sio_io_redis_retries_total"), "io-nodes tried again"),
                    Line(rate("sio_app_redis_retries_total"), "app-nodes tried again"),
                ],
                "cps",
            ),
        ],
    )


def _processes() -> Row:
    nodes, legend = 'job=~"io-node|app-node"', "{{job}} {{instance}}"
    return Row(
        "Processes",
        [
            timeseries("CPU", [Line(rate("process_cpu_seconds_total", nodes, "job, instance"), legend)], "percentunit"),
            timeseries(
                "Memory", [Line(total("process_resident_memory_bytes", nodes, "job, instance"), legend)], "bytes"
            ),
        ],
        across=2,
    )


def _load_test() -> Row:
    return Row(
        "Load test",
        [
            timeseries(
                "Clients of the load test, and of the cluster",
                [Line(total("loadtest_clients"), "load test"), Line(total("sio_io_clients"), "cluster")],
                "short",
                "Empty but for the cluster where no load test runs.",
            ),
            timeseries(
                "Sent and received",
                [
                    Line(total("loadtest_emits_per_second"), "events sent by the load test"),
                    Line(total("loadtest_deliveries_per_second"), "messages that it received"),
                    Line(rate("sio_io_deliveries_written_total"), "messages that io-nodes sent"),
                ],
                "cps",
            ),
            timeseries(
                "A message takes",
                [Line("max by (share) (loadtest_latency_seconds)", "{{share}} take less")],
                "s",
                "From one browser to another, by the load test's clock.",
            ),
            timeseries("Bytes received", [Line(total("loadtest_bytes_per_second"), "a second")], "bytes"),
            timeseries(
                "Seem lost",
                [Line(total("loadtest_messages_missing"), "messages")],
                "short",
                "Since the run began. Some may still come.",
            ),
        ],
    )


BOARD = Dashboard(
    "sio-overview",
    "Socket.IO Cluster: overview",
    "The whole cluster on one page.",
    [_state(), _alerts(), _traffic(), _durations(), _trouble(), _processes(), _load_test()],
)
