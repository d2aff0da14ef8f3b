"""What every node of the cluster is, io-node or app-node: each mechanism that both need stands here, once.

Settings, logs, metrics and health; retries; the loops that live as long as the node; its place in the registry; its
inbox; its name; the application named on its command line.

May import: `streams.api`, `protocol`. Not `streams.redis`: which bus a node runs on is decided by its `app.py`.
"""
