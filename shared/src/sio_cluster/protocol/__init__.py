"""The words of the cluster: messages and their codec, keys, ids, reasons, errors, and the Socket.IO packet grammar.

Pure data and pure functions: no IO, no clock, no randomness of its own. May import: nothing else of the cluster.
"""
