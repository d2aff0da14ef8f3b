"""The io-node's ends of the bus: facts of clients to Redis, commands from Redis, and the node's own registration.

Knows nothing of Socket.IO or of connections, except that a sender can be paused. May import: io_node.backpressure,
sio_cluster.node, sio_cluster.streams.api, sio_cluster.protocol. Inside:

    uplink, downlink, registration, retention, interest
    destination, fairness
    batch, counters, repeats, progress
"""
