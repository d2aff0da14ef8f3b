"""Lanes: which of them this app-node holds, until when, and what must end before one of their entries may go.

May import `app_node.counters`, `app_node.payloads` and `app_node.clock`, nothing else of app_node.
"""
