"""The process that a node is: its event loop, its port, its garbage collector, and the application that it loads.

May import: `protocol`. Its modules do not import each other.
"""
