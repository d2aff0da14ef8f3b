"""The way from the clients: lane entries and clients' answers, to handlers and callbacks.

May import `app_node.clients` and what that may import. Independent of `app_node.membership`.
"""
