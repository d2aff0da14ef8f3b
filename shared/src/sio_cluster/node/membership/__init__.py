"""A node's place in the cluster: its name, how it joins, its heartbeat, and the inbox that is its own.

May import: `node.retry`, `node.loops`, `streams.api`, `protocol`. Its modules do not import each other.
"""
