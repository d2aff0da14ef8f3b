"""App-nodes and their lanes: what is read, what handlers do, and what goes out."""

from observe.boards.process import process_row
from observe.dashboard import Dashboard, Row
from observe.panels import Line, heatmap, timeseries
from observe.queries import mean, quantile, rate, total

NODES = 'job="app-node", instance=~"$instance"'
EACH = "{{instance}}"


def _lanes() -> Row:
    wait = "sio_app_lane_wait_seconds"
    return Row(
        "Lanes",
        [
            timeseries(
                "Lanes held",
                [Line(total("sio_app_lanes_held", NODES, "instance"), EACH)],
                "short",
                "All of them together must be LANES.",
                stacked=True,
            ),
            timeseries(
                "Facts read",
                [Line(rate("sio_app_facts_read_total", NODES, "redelivered"), "redelivered: {{redelivered}}")],
                "cps",
                "redelivered is 1 for those that a former holder of the lane had read.",
            ),
            timeseries(
                "An entry waits in its lane",
                [Line(quantile(0.99, wait, NODES, "instance"), f"{EACH}, 99 %")],
                "s",
                "If it grows, app-nodes do not keep up.",
            ),
            timeseries(
                "Lanes and records that moved",
                [
                    Line(rate("sio_app_lanes_lost_total", NODES), "lanes lost"),
                    Line(rate("sio_app_holders_barred_total", NODES), "former holders barred"),
                    Line(rate("sio_app_appends_barred_total", NODES), "output refused"),
                    Line(rate("sio_app_records_fenced_total", NODES), "changes of records refused"),
                    Line(rate("sio_app_clients_restored_total", NODES), "clients taken over"),
                ],
                "cps",
            ),
            timeseries(
                "Entries",
                [
                    Line(rate("sio_app_entries_committed_total", NODES), "done and removed"),
                    Line(rate("sio_app_entries_malformed_total", NODES), "could not be decoded"),
                    Line(rate("sio_app_dead_letters_total", NODES), "dead letters"),
                    Line(rate("sio_app_dead_letters_lost_total", NODES), "dead letters deleted"),
                    Line(rate("sio_app_facts_quarantined_total", NODES), "facts moved into quarantine"),
                ],
                "cps",
            ),
            heatmap("How long entries wait in lanes", rate(f"{wait}_bucket", NODES, "le")),
        ],
    )


def _facts() -> Row:
    return Row(
        "Facts",
        [
            timeseries(
                "Handled", [Line(rate("sio_app_facts_handled_total", NODES, "kind"), "{{kind}}")], "cps", stacked=True
            ),
            timeseries(
                "Not handled here",
                [
                    Line(rate("sio_app_facts_refused_total", NODES, "reason"), "refused: {{reason}}"),
                    Line(rate("sio_app_facts_abandoned_total", NODES, "reason"), "left to others: {{reason}}"),
                    Line(rate("sio_app_facts_done_before_total", NODES), "done before"),
                ],
                "cps",
            ),
            timeseries(
                "In work",
                [Line(total("sio_app_facts_in_work", NODES, "instance"), EACH)],
                "short",
                "A handler hangs if this does not go back to 0 when nothing comes in.",
            ),
            timeseries(
                "Bytes in work",
                [Line(total("sio_app_bytes_in_work", NODES, "instance"), EACH)],
                "bytes",
                "At MAX_INFLIGHT_BYTES the node stops reading.",
            ),
            timeseries(
                "Pauses of reading",
                [Line(rate("sio_app_waits_for_handlers_total", NODES, "instance"), EACH)],
                "cps",
                "How often reading stopped at MAX_INFLIGHT_BYTES.",
            ),
            timeseries(
                "Clients",
                [
                    Line(rate("sio_app_clients_accepted_total", NODES), "let in"),
                    Line(rate("sio_app_clients_recovered_total", NODES), "of these, came back"),
                    Line(rate("sio_app_clients_refused_total", NODES), "refused"),
                    Line(rate("sio_app_clients_disconnected_total", NODES), "disconnected"),
                    Line(rate("sio_app_disconnects_implied_total", NODES), "of these, back already"),
                    Line(rate("sio_app_presence_news_total", NODES), "came or went, as their rooms were told"),
                ],
                "cps",
            ),
        ],
    )


def _handlers() -> Row:
    seconds = "sio_app_handler_seconds"
    return Row(
        "Handlers",
        [
            timeseries("Calls", [Line(rate(f"{seconds}_count", NODES, "event"), "{{event}}")], "cps", stacked=True),
            timeseries(
                "99 % take less than",
                [Line(quantile(0.99, seconds, NODES, "event"), "{{event}}")],
                "s",
                "From beginning to end, whatever they wait for.",
            ),
            timeseries("Mean", [Line(mean(seconds, NODES, "event"), "{{event}}")], "s"),
            timeseries(
                "Failed",
                [
                    Line(rate("sio_app_handlers_failed_total", NODES), "handlers that raised"),
                    Line(rate("sio_app_callbacks_failed_total", NODES), "callbacks that raised"),
                    Line(rate("sio_app_handlers_blocked_total", NODES), "handlers that blocked the loop"),
                ],
                "cps",
            ),
            timeseries(
                "Answers of clients",
                [
                    Line(rate("sio_app_acks_received_total", NODES), "came"),
                    Line(rate("sio_app_acks_refused_total", NODES, "reason"), "refused: {{reason}}"),
                    Line(rate("sio_app_acks_missed_total", NODES), "will not come"),
                    Line(rate("sio_app_callbacks_given_up_total", NODES), "given up"),
                    Line(rate("sio_app_calls_refused_total", NODES), "calls refused"),
                    Line(rate("sio_app_answers_too_large_total", NODES), "too large together"),
                ],
                "cps",
            ),
            timeseries(
                "Events between app-nodes",
                [Line(rate("sio_app_server_events_total", NODES, "result"), "{{result}}")],
                "cps",
            ),
        ],
    )


def _outbox() -> Row:
    wait = "sio_app_outbox_wait_seconds"
    return Row(
        "Outbox: from handlers to Redis",
        [
            timeseries(
                "Commands",
                [
                    Line(rate("sio_app_commands_emitted_total", NODES), "emitted"),
                    Line(rate("sio_app_commands_written_total", NODES), "written"),
                    Line(rate("sio_app_commands_for_nobody_total", NODES), "for nobody: rooms without members there"),
                    Line(rate("sio_app_commands_dropped_total", NODES, "reason"), "dropped: {{reason}}"),
                    Line(rate("sio_app_recipients_gone_total", NODES), "to io-nodes that are gone"),
                ],
                "cps",
            ),
            timeseries(
                "Commands that wait", [Line(total("sio_app_commands_waiting", NODES, "instance"), EACH)], "short"
            ),
            timeseries(
                "Until Redis has an entry", [Line(quantile(0.99, wait, NODES, "instance"), f"{EACH}, 99 %")], "s"
            ),
        ],
    )


BOARD = Dashboard(
    "sio-app-nodes",
    "Socket.IO Cluster: app-nodes and lanes",
    "What app-nodes read from lanes, what handlers do, and what goes out.",
    [_lanes(), _facts(), _handlers(), _outbox(), process_row("app-node", "sio_app_loop_lag_seconds")],
    job="app-node",
)
