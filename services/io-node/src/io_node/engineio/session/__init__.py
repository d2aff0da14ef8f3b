"""One Engine.IO session as a sans-IO state machine: inputs and times come in, effects come out.

It knows no socket, no clock and no event loop. May import: io_node.engineio.api, .counters and .wire,
sio_cluster.protocol, and, only in `limits`, sio_cluster.node. Inside:

    inbound                             what comes from the client: packets, and the WebSocket that probes
    machine                             EngineSession: its state, when something leaves, and how it ends
    queue, heartbeat, upgrade           what waits, and whether the client takes it; PING and PONG; the probe
    effects, buffers, limits            what is to be done; what waits in the whole node; settings
"""
