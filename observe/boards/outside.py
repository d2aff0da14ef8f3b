"""What programs without handlers ask for: the HTTP API, and bridges to other Socket.IO libraries."""

from observe.dashboard import Dashboard, Row
from observe.panels import GREEN, RED, YELLOW, Line, stat, timeseries
from observe.queries import quantile, rate, total

API, BRIDGE = 'job="api"', 'job="bridge"'


def _api() -> Row:
    return Row(
        "HTTP API",
        [
            timeseries(
                "Requests",
                [Line(rate("sio_api_requests_total", API, "verb"), "{{verb}}")],
                "cps",
                "One without a verb had no valid key, or a body that cannot be read.",
            ),
            timeseries(
                "Answers that are not 200",
                [Line(rate("sio_api_requests_total", f'{API}, status!="200"', "status"), "{{status}}")],
                "cps",
                "401: no valid key. 503: the API stops, or Redis is away. 500: a defect of ours.",
            ),
            timeseries(
                "Commands",
                [
                    Line(rate("sio_api_commands_total", API), "asked for"),
                    Line(rate("sio_app_commands_written_total", API), "written to io-nodes"),
                    Line(rate("sio_app_commands_for_nobody_total", API), "for nobody: rooms without members there"),
                    Line(rate("sio_app_commands_dropped_total", API, "reason"), "dropped: {{reason}}"),
                ],
                "cps",
                "A batch has several. One command may be written to many io-nodes, or to none.",
            ),
            timeseries(
                "Until Redis has a command",
                [Line(quantile(0.99, "sio_app_outbox_wait_seconds", API), "99 %")],
                "s",
            ),
        ],
        across=2,
    )


def _bridges() -> Row:
    bad, look = {0: GREEN, 1: RED}, {0: GREEN, 1: YELLOW}
    return Row(
        "Bridges",
        [
            stat(
                "Active bridges",
                total("sio_bridge_active"),
                colours={0: YELLOW, 1: GREEN, 2: YELLOW},
                about="One passes messages on. The others wait to take its place.",
            ),
            stat("Bridges ready", total("sio_bridge_ready"), colours={0: YELLOW, 1: GREEN}),
            stat("Entries that wait", "max(sio_bridge_entries_behind)", colours={0: GREEN, 1000: YELLOW}),
            stat(
                "Entries lost in the last hour",
                "ceil(sum(increase(sio_bridge_entries_lost_total[1h]))) or vector(0)",
                colours=bad,
                about="They were trimmed before a bridge had read them.",
            ),
            stat(
                "Messages refused in the last hour",
                "ceil(sum(increase(sio_bridge_messages_refused_total[1h]))) or vector(0)",
                colours=look,
            ),
            stat(
                "Subscriptions lost in the last hour",
                "ceil(sum(increase(sio_bridge_subscriptions_lost_total[1h]))) or vector(0)",
                colours=look,
                about="What is said until the bridge has subscribed again is lost.",
            ),
        ],
        across=6,
        height=4,
    )


def _messages() -> Row:
    return Row(
        "Messages of other programs",
        [
            timeseries(
                "Read",
                [
                    Line(rate("sio_bridge_messages_read_total", by="source"), "read, {{source}}"),
                    Line(rate("sio_bridge_messages_delivered_total", by="source"), "delivered, {{source}}"),
                    Line(rate("sio_bridge_messages_ignored_total", by="source"), "not for clients, {{source}}"),
                ],
                "cps",
            ),
            timeseries(
                "Refused",
                [Line(rate("sio_bridge_messages_refused_total", by="source, reason"), "{{source}}: {{reason}}")],
                "cps",
                "Another program asks for what a bridge cannot do.",
            ),
            timeseries(
                "Tried again",
                [Line(rate("sio_bridge_redis_retries_total", by="what"), "{{what}}")],
                "cps",
                "Redis does not answer, or refuses.",
            ),
        ],
    )


BOARD = Dashboard(
    "sio-outside",
    "Socket.IO Cluster: HTTP API and bridges",
    "What programs without handlers ask for. Empty where neither an API nor a bridge runs.",
    [_api(), _bridges(), _messages()],
)
