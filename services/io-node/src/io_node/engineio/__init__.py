"""Engine.IO: connections, transports, and the sans-IO session that drives them. Knows nothing of Socket.IO or Redis.

`server` joins it all and is what others make; `api` is what others see of a connection. May import: sio_cluster.node
and sio_cluster.protocol; uvicorn only in `http`, picows only in `parser` and `websocket`. Inside:

    server
    http, polling                       the two ways in
    admission                           which requests are taken
    connections                         all connections of the node
    connection, websocket
    session, parser, tick
    effects, wheel, upgrade
    packets, limits, request, cors
    api
    frames
"""
