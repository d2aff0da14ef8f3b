"""`sio-cluster top`: a running cluster at a glance. All of it comes from Redis; no node is asked.

    watching         reads, shows, waits, again and again
    screen           one frame for a terminal
    rows             what has changed between two snapshots: pure
    snapshot         what Redis says at one moment

May import: `sio_cluster.streams`, `sio_cluster.protocol`.
"""
