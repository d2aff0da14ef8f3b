"""For each alert: series that must make it fire, and no other."""

from dataclasses import dataclass

IO = 'job="io-node", instance="io"'
APP = 'job="app-node", instance="app"'
BRIDGE = 'job="bridge", instance="bridge"'
NEW, NEW_IO = 'job="app-node", instance="new"', 'job="io-node", instance="new"'

Series = dict[str, str]
"""A series -> its values, one a minute, as promtool writes them: `0+5x60` is 0, 5, 10 and so on, 60 times."""

HEALTHY: Series = {
    f"up{{{IO}}}": "1x60",
    f"up{{{APP}}}": "1x60",
    f"sio_io_ready{{{IO}}}": "1x60",
    f"sio_app_ready{{{APP}}}": "1x60",
    f"sio_app_lanes{{{APP}}}": "16x60",
    f"sio_app_lanes_held{{{APP}}}": "16x60",
    f'sio_io_facts_accepted_total{{{IO}, kind="event"}}': "5+60x60",
    f"sio_io_facts_written_total{{{IO}}}": "3+60x60",
    f"sio_io_acks_written_total{{{IO}}}": "0x60",
    f"sio_io_facts_waiting{{{IO}}}": "2x60",
    f"sio_io_deliveries_total{{{IO}}}": "4+60x60",
    f"sio_io_deliveries_written_total{{{IO}}}": "1+60x60",
    f'sio_io_deliveries_dropped_total{{{IO}, reason="volatile"}}': "2x60",
    f"sio_io_deliveries_waiting{{{IO}}}": "1x60",
    f'sio_app_facts_read_total{{{APP}, redelivered="0"}}': "3+60x60",
    f'sio_app_facts_read_total{{{APP}, redelivered="1"}}': "1x60",
    f'sio_app_facts_handled_total{{{APP}, kind="event"}}': "2+60x60",
    f"sio_app_facts_in_work{{{APP}}}": "2x60",
    f"sio_app_commands_emitted_total{{{APP}}}": "1+60x60",
    f"sio_app_commands_written_total{{{APP}}}": "0+60x60",
    f"sio_app_commands_waiting{{{APP}}}": "1x60",
    f"sio_app_reaper_facts_written_total{{{APP}}}": "0x60",
    f"sio_io_commands_read_total{{{IO}}}": "0+60x60",
    f'sio_io_clients_closed_total{{{IO}, reason="server disconnect"}}': "0x60",
    f"sio_io_clients_refused_total{{{IO}}}": "0x60",
    f"up{{{BRIDGE}}}": "_x25 1x35",
    f"sio_bridge_ready{{{BRIDGE}}}": "_x25 1x35",
    f"sio_bridge_entries_lost_total{{{BRIDGE}}}": "_x25 0x35",
    f'sio_bridge_messages_refused_total{{{BRIDGE}, source="channel", reason="malformed"}}': "_x25 0x35",
}
"""A cluster in which all is well: a fact a second. Its counters add up. A bridge has just begun."""

_ONCE = "0x25 1x35"
_FROM_ITS_START = "_x25 1x35"
_YOUNG = "_x25 1500x35"
"""When it started: then, in seconds."""
_OFTEN = "0+60x60"


def _slow(name: str, labels: str) -> Series:
    """A histogram of which half takes more than 2.5 s."""
    return {f'{name}{{{labels}, le="{bound}"}}': f"0+{count}x60" for bound, count in (("2.5", 30), ("+Inf", 60))}


@dataclass(frozen=True)
class Alarm:
    """What is put in the place of a healthy series, or beside them. An empty value takes a series away.

    `alert` is "" where none may fire.
    """

    alert: str
    series: Series


ALARMS = [
    Alarm("SioNodeDown", {f"up{{{APP}}}": "0x60"}),
    Alarm("SioNoIoNode", {f"sio_io_ready{{{IO}}}": ""}),
    Alarm("SioNobodyServesLanes", {f"sio_app_lanes_held{{{APP}}}": "0x60"}),
    Alarm("SioLanesNotHeld", {f"sio_app_lanes_held{{{APP}}}": "15x60"}),
    Alarm("SioNodeUnready", {f"sio_app_ready{{{APP}}}": "0x60"}),
    Alarm("SioNodeUnready", {'sio_io_ready{job="io-node", instance="second"}': "0x60"}),
    Alarm("SioNodeUnready", {'sio_bridge_ready{job="bridge", instance="bridge"}': "0x60"}),
    Alarm("SioNodeRestarts", {f"process_start_time_seconds{{{APP}}}": "0x10 600x5 960x5 1320x39"}),
    Alarm("SioIoNodeLost", {f"sio_app_io_nodes_lost_total{{{APP}}}": _ONCE}),
    Alarm(
        "SioIoNodeLost",
        {f"sio_app_io_nodes_lost_total{{{NEW}}}": _FROM_ITS_START, f"process_start_time_seconds{{{NEW}}}": _YOUNG},
    ),
    Alarm("SioLanesLost", {f"sio_app_lanes_lost_total{{{APP}}}": _ONCE}),
    Alarm("SioFilesShort", {f"process_open_fds{{{IO}}}": "95x60", f"process_max_fds{{{IO}}}": "100x60"}),
    Alarm("SioConnectsWait", {f"sio_io_connects_waiting{{{IO}}}": "3x60"}),
    Alarm("SioConnectionsPaused", {f"sio_io_connections_paused{{{IO}}}": "1x60"}),
    Alarm("SioUplinkWaits", _slow("sio_io_uplink_wait_seconds_bucket", IO)),
    Alarm("SioLanesWait", _slow("sio_app_lane_wait_seconds_bucket", APP)),
    Alarm(
        "SioLanesNotRead",
        {
            f'sio_app_facts_read_total{{{APP}, redelivered="0"}}': "3+50x60",
            f'sio_app_facts_handled_total{{{APP}, kind="event"}}': "2+50x60",
        },
    ),
    Alarm("SioOutboxWaits", _slow("sio_app_outbox_wait_seconds_bucket", APP)),
    Alarm("SioInboxWaits", _slow("sio_io_inbox_wait_seconds_bucket", IO)),
    Alarm("SioEventLoopLate", _slow("sio_app_loop_lag_seconds_bucket", APP)),
    Alarm("SioEventLoopLate", _slow("sio_io_loop_lag_seconds_bucket", IO)),
    Alarm("SioHandlerBlocks", {f"sio_app_handlers_blocked_total{{{APP}}}": _ONCE}),
    Alarm(
        "SioHandlersHang",
        {
            'sio_app_facts_in_work{job="app-node", instance="second"}': "1x60",
            'sio_app_facts_read_total{job="app-node", instance="second"}': "1x60",
        },
    ),
    Alarm("SioHandlersFail", {f"sio_app_handlers_failed_total{{{APP}}}": "0+6x60"}),
    Alarm("SioDeadLetters", {f"sio_app_dead_letters_total{{{APP}}}": _ONCE}),
    Alarm(
        "SioDeadLetters",
        {f"sio_app_dead_letters_total{{{NEW}}}": _FROM_ITS_START, f"process_start_time_seconds{{{NEW}}}": _YOUNG},
    ),
    Alarm("SioRedisFails", {f'sio_io_redis_retries_total{{{IO}, what="uplink"}}': "0+3x60"}),
    Alarm("SioRedisFails", {f'sio_app_redis_retries_total{{{APP}, what="outbox"}}': "0+3x60"}),
    Alarm("SioRedisFails", {'sio_bridge_redis_retries_total{job="bridge", what="read"}': "0+3x60"}),
    Alarm("SioRedisFull", {f"sio_io_redis_full_total{{{IO}}}": "0x28 1x32"}),
    Alarm(
        "SioRedisNearlyFull",
        {f"sio_app_redis_memory_used_bytes{{{APP}}}": "81x60", f"sio_app_redis_memory_max_bytes{{{APP}}}": "100x60"},
    ),
    Alarm("SioRedisLostData", {f"sio_io_redis_data_lost_total{{{IO}}}": _ONCE}),
    Alarm("SioStreamsFull", {f"sio_io_streams_full_total{{{IO}}}": _OFTEN}),
    Alarm("SioStreamsFull", {f"sio_app_inbox_full_total{{{APP}}}": _OFTEN}),
    Alarm(
        "SioClientsUnknown",
        {
            f'sio_app_facts_refused_total{{{APP}, reason="unknown_client"}}': "0+1x60",
            f'sio_app_facts_handled_total{{{APP}, kind="event"}}': "2+59x60",
        },
    ),
    Alarm(
        "",
        {
            f'sio_app_facts_refused_total{{{APP}, reason="unknown_client"}}': "0+9x60",
            f'sio_app_facts_handled_total{{{APP}, kind="event"}}': "2+51x60",
            f'sio_io_clients_closed_total{{{IO}, reason="server disconnect"}}': "0+1x60",
        },
    ),
    Alarm("SioDownlinkFull", {f'sio_io_slow_consumers_total{{{IO}, reason="buffer_full"}}': _ONCE}),
    Alarm("SioRecoveryWindowShort", {f'sio_io_recoveries_total{{{IO}, result="refused", reason="window"}}': _ONCE}),
    Alarm(
        "SioRecoveryWindowShort",
        {
            f'sio_io_recoveries_total{{{NEW_IO}, result="refused", reason="window"}}': _FROM_ITS_START,
            f"process_start_time_seconds{{{NEW_IO}}}": _YOUNG,
        },
    ),
    Alarm("SioBridgeLosesMessages", {'sio_bridge_entries_lost_total{job="bridge"}': _ONCE}),
    Alarm(
        "SioBridgeLosesMessages",
        {
            f"sio_bridge_entries_lost_total{{{BRIDGE}}}": _FROM_ITS_START,
            f"process_start_time_seconds{{{BRIDGE}}}": _YOUNG,
        },
    ),
    Alarm("SioBridgeLosesMessages", {'sio_bridge_messages_refused_total{job="bridge", source="s"}': _ONCE}),
    Alarm("SioBridgeLosesMessages", {'sio_bridge_messages_refused_total{job="bridge", source="s"}': "_x25 1x35"}),
    Alarm("SioCountersDoNotBalance", {f"sio_io_facts_waiting{{{IO}}}": "1x60"}),
    Alarm("SioCountersDoNotBalance", {f"sio_io_deliveries_waiting{{{IO}}}": "2x60"}),
    Alarm("SioCountersDoNotBalance", {f"sio_app_facts_in_work{{{APP}}}": "1x60"}),
    Alarm("SioCountersDoNotBalance", {f"sio_app_commands_waiting{{{APP}}}": "0x60"}),
]
