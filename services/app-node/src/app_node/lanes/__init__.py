"""Lanes: which of them this app-node holds, until when, and what must end before one of their entries may go.

May import `app_node.clock`, `.counters`, `.event_loop` and `.payloads`, nothing else of app_node.
"""
