"""The way to the clients: commands to the inboxes of io-nodes, and changes of client records.

May import `app_node.lanes` and what that may import. Independent of `app_node.handlers`.
"""
