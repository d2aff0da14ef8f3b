"""Which modules are hot: most of a node's own time for a message passes in them.

They are ordinary Python. Compiled, a few things in them are stricter: an annotation that is not true raises TypeError,
and nobody may replace a method of theirs while they run. Python does not count how deep their functions call each
other: one that follows a value of the application's down must count its levels, or it crashes the process. mypyc's
coroutines gain nothing here, so a hot module has no `async def`.
"""

HOT: dict[str, tuple[str, ...]] = {
    "sio_cluster": (
        "protocol.ids",
        "protocol.recovery",
        "protocol.socketio",
    ),
    "io_node": (
        "backpressure",
        "bus.batch",
        "engineio.api",
        "engineio.connection",
        "engineio.counters",
        "engineio.session.buffers",
        "engineio.session.effects",
        "engineio.session.heartbeat",
        "engineio.session.inbound",
        "engineio.session.limits",
        "engineio.session.machine",
        "engineio.session.queue",
        "engineio.session.upgrade",
        "engineio.tick",
        "engineio.wire.frames",
        "engineio.wire.packets",
        "socketio.absent",
        "socketio.client",
        "socketio.fan_out",
        "socketio.hub",
        "socketio.namespace",
        "socketio.reader",
        "socketio.rooms",
        "socketio.session",
    ),
    "app_node": (
        "clients.client",
        "downlink.concerned",
        "downlink.held",
        "downlink.inbox_queue",
        "lanes.commits",
        "lanes.lane",
        "lanes.progress",
        "payloads",
    ),
}
"""By package, in the order of the alphabet."""
