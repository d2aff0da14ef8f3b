"""Socket.IO: clients, namespaces and rooms. Knows nothing of HTTP, sockets or Redis.

Messages of a connection come in through `session`, commands of app-nodes through `hub`. May import:
io_node.engineio.api, io_node.backpressure, sio_cluster.protocol. Inside:

    gate                                gives each connection a session
    session, hub, throttle
    client
    reader, counters, timer
"""
