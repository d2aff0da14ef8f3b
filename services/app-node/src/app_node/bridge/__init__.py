"""The process `sio-cluster-bridge`: what programs of other Socket.IO libraries write into Redis reaches our clients.

    python-socketio RedisManager       ─┐
    @socket.io/redis-emitter            ├─► `channels`, `stream` ─► `formats` ─► `delivery` ─► the server object
    @socket.io/redis-streams-emitter   ─┘

A bridge is an app-node without handlers, which only emits. docs/bridges.md says what works and what is lost when.
`process` puts the parts together; `lease` says which of several bridges is the active one.

May import: `interface` and what is below it, and `sio_cluster.streams.redis.bridged`.
"""
