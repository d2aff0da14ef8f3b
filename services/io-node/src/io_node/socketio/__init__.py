"""Socket.IO: clients, namespaces and rooms. Knows nothing of HTTP, sockets or Redis.

Messages of a connection come in through `session`, commands of app-nodes through `hub`. May import:
io_node.engineio.api, io_node.backpressure, io_node.turns, sio_cluster.protocol. Inside:

    gate                                gives each connection a session
    session, hub, throttle, newcomers
    surroundings, fan_out               what a session needs of the node; how one message goes out
    rooms                               who is in which room
    client
    catching_up                         sends a client that has come back what it missed
    reader, counters, timer, capability, absent, asked, namespace
"""
