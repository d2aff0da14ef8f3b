"""What goes over the wire, as bytes: WebSocket frames and Engine.IO packets. Pure. May import: sio_cluster.protocol.

Inside:

    packets
    frames
"""
