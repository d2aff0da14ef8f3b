"""The clients whose lanes this app-node holds: what is known of them, and how they come and go.

May import `app_node.downlink`, `app_node.handlers` and what those may import.
"""
