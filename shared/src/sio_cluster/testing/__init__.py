"""For tests only: the contract suite's cluster, a Valkey of one's own, a proxy that loses packets, virtual time.

May import: everything in `sio_cluster` but its command line.
"""
