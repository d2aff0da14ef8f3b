"""Sessions that are claimed back: what a client missed is read in the log of its home.

May import: io_node.socketio, io_node.bus, io_node.engineio.api, sio_cluster.streams.api. Inside:

    parts                               what the node uses
    claims                              decides whether a client may have a session back
    homes, evictions, restoring         the homes that are read here; closing former connections; after a loss of data
    members                             in which rooms the clients of the own home are
    home                                one home, as it is read here
    home_log                            one log in memory: who missed what
    log_items                           what stands in it, and what that takes
"""
