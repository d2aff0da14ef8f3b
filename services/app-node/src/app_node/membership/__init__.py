"""Nodes that come, go and die: this app-node's own presence, and io-nodes that must be buried.

May import `app_node.clients` and what that may import. Independent of `app_node.uplink`.
"""
