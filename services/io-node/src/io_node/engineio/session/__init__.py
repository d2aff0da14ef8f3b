"""One Engine.IO session as a sans-IO state machine: inputs and times come in, effects come out.

It knows no socket, no clock and no event loop. May import: io_node.engineio.api, .counters and .wire,
sio_cluster.protocol, and, only in `limits`, sio_cluster.node. Inside:

    machine                             EngineSession
    effects, upgrade, buffers, limits
"""
