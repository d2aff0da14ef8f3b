"""A WebSocket (RFC 6455) on a TCP connection whose handshake is done. Knows nothing of sessions.

The only place that imports picows, which parses what comes. May import: picows, io_node.engineio.wheel and .wire,
io_node.turns, sio_cluster.protocol. Inside:

    socket
    parser, fragments
"""
