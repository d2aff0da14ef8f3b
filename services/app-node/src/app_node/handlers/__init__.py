"""Handlers: which function of the application serves an event, and with which arguments it is called.

May import `app_node.lanes` and what that may import. Independent of `app_node.downlink`.
"""
