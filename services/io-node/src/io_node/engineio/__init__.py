"""Engine.IO: connections, transports, and the sans-IO session that drives them. Knows nothing of Socket.IO or Redis.

`server` joins it all and is what others make; `api` is what others see of a connection. May import: io_node.turns,
sio_cluster.node and sio_cluster.protocol. Inside:

    server
    http                                the ways in: WebSocket handshakes, and HTTP long-polling
    connections                         all connections of the node
    connection                          one connection: carries out what its session wants
    polls                               the GET and the POST of a connection that are under way
    session, websocket                  what is to be done, without any IO; WebSockets on TCP
    wheel, tick                         deadlines; one write for each connection in each turn of the loop
    api, counters
    wire                                bytes: frames and packets
"""
