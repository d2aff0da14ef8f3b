"""The bus: Redis, as the nodes see it. Lanes, inboxes, retries, and what is lost or dead."""

from observe.dashboard import Dashboard, Row
from observe.panels import GREEN, RED, YELLOW, Line, stat, timeseries
from observe.queries import quantile, rate, total


def _state() -> Row:
    window = "[1h]"
    bad, look = {0: GREEN, 1: RED}, {0: GREEN, 1: YELLOW}
    figures = (
        ("Redis lost its data", "sio_io_redis_data_lost_total", bad),
        ("Writes refused: Redis full", "sio_io_redis_full_total", bad),
        ("Io-nodes declared dead", "sio_app_io_nodes_lost_total", look),
        ("Io-nodes that woke up after that", "sio_io_declared_lost_total", look),
        ("Lanes lost", "sio_app_lanes_lost_total", look),
        ("Dead letters", "sio_app_dead_letters_total", look),
    )
    return Row(
        "In the last hour",
        [stat(title, f"ceil(sum(increase({metric}{window})))", colours=colours) for title, metric, colours in figures],
        across=6,
        height=4,
    )


def _waits() -> Row:
    waits = {
        "io-nodes write to lanes": "sio_io_uplink_wait_seconds",
        "app-nodes write to inboxes": "sio_app_outbox_wait_seconds",
        "entries wait in lanes": "sio_app_lane_wait_seconds",
        "entries wait in inboxes": "sio_io_inbox_wait_seconds",
    }
    return Row(
        "How long Redis and its readers take",
        [
            timeseries(
                f"{share:.0%} take less than", [Line(quantile(share, name), what) for what, name in waits.items()], "s"
            )
            for share in (0.5, 0.9, 0.99)
        ],
    )


def _entries() -> Row:
    return Row(
        "Entries",
        [
            timeseries(
                "Written and read",
                [
                    Line(rate("sio_io_batches_written_total"), "written by io-nodes"),
                    Line(rate("sio_app_entries_committed_total"), "lane entries done"),
                    Line(rate("sio_io_batches_read_total"), "inbox entries carried out"),
                ],
                "cps",
            ),
            timeseries(
                "Messages in an entry",
                [
                    Line(
                        f"{rate('sio_io_facts_written_total')} / {rate('sio_io_batches_written_total')}",
                        "facts from io-nodes",
                    ),
                    Line(
                        f"{rate('sio_io_commands_read_total')} / {rate('sio_io_batches_read_total')}",
                        "commands for io-nodes",
                    ),
                ],
                "short",
                "The more there are, the less each costs.",
            ),
            timeseries(
                "Repeated and malformed",
                [
                    Line(rate("sio_io_batches_repeated_total"), "written again after a lost answer"),
                    Line(rate("sio_io_batches_read_before_total"), "came twice"),
                    Line(rate("sio_io_batches_malformed_total"), "io-nodes could not decode"),
                    Line(rate("sio_app_entries_malformed_total"), "app-nodes could not decode, lanes"),
                    Line(rate("sio_app_inbox_entries_malformed_total"), "app-nodes could not decode, inboxes"),
                ],
                "cps",
            ),
        ],
    )


def _room() -> Row:
    """The app-node that holds lane 0 asks for all of this."""
    return Row(
        "What Redis holds",
        [
            timeseries("Lanes", [Line(total("sio_app_lane_bytes", by="lane"), "{{lane}}")], "bytes", stacked=True),
            timeseries(
                "Inboxes",
                [Line(total("sio_app_inbox_bytes", by="kind, node"), "{{kind}} {{node}}")],
                "bytes",
                stacked=True,
            ),
            timeseries(
                "Memory",
                [
                    Line("max(sio_app_redis_memory_used_bytes)", "in use"),
                    Line("max(sio_app_redis_memory_max_bytes)", "maxmemory; 0: no limit"),
                ],
                "bytes",
            ),
        ],
    )


def _trouble() -> Row:
    return Row(
        "Away, slow, full",
        [
            timeseries(
                "Operations tried again",
                [
                    Line(rate("sio_io_redis_retries_total", by="what"), "io-nodes: {{what}}"),
                    Line(rate("sio_app_redis_retries_total", by="what"), "app-nodes: {{what}}"),
                ],
                "cps",
            ),
            timeseries(
                "Full",
                [
                    Line(rate("sio_io_streams_full_total"), "lanes, and inboxes of app-nodes"),
                    Line(rate("sio_app_inbox_full_total"), "inboxes of io-nodes"),
                    Line(rate("sio_io_redis_full_total"), "Redis"),
                ],
                "cps",
            ),
            timeseries(
                "What waits for Redis",
                [
                    Line(total("sio_io_facts_waiting"), "facts in io-nodes"),
                    Line(total("sio_app_commands_waiting"), "commands in app-nodes"),
                ],
                "short",
            ),
        ],
    )


def _homes() -> Row:
    return Row(
        "Homes of io-nodes that are gone",
        [
            timeseries(
                "Parked homes",
                [Line("max(sio_app_parked_homes)", "homes")],
                "short",
                "Inboxes that are kept without their io-node, for clients that come back.",
            ),
            timeseries(
                "Clients absent",
                [Line("max(sio_app_clients_absent)", "clients")],
                "short",
                "Away, or held by another io-node than their home.",
            ),
            timeseries(
                "Removed and written",
                [
                    Line(rate("sio_app_parked_entries_forgotten_total"), "entries too old or too many"),
                    Line(rate("sio_app_parked_entries_malformed_total"), "entries malformed"),
                    Line(rate("sio_app_reaper_facts_written_total"), "disconnects for clients that are gone"),
                    Line(rate("sio_app_rooms_corrected_total"), "rooms corrected"),
                ],
                "cps",
            ),
        ],
    )


BOARD = Dashboard(
    "sio-bus",
    "Socket.IO Cluster: Redis and the bus",
    "Redis as the nodes see it. For Redis' own figures, add an exporter for Redis to Prometheus.",
    [_state(), _waits(), _entries(), _room(), _trouble(), _homes()],
)
