"""The ways in: a WebSocket handshake (`protocol`) and HTTP long-polling (`polling`).

Which requests may come in, and how others are refused, is the same for both (`admission`). May import:
io_node.engineio.connections and below, sio_cluster.node and sio_cluster.protocol, and, only in `protocol`, uvicorn and
httptools. Inside:

    protocol, polling
    admission, handshake                which requests may come in; the answer to a WebSocket handshake
    request, cors, descriptors          the head of a request, and how it is refused; which web pages may ask; whether
                                        the process may open more files
"""
