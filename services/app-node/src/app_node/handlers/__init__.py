"""Handlers: which function of the application serves an event, with which arguments it is called, and when.

May import `app_node.lanes` and what that may import. Independent of `app_node.downlink`.
"""
