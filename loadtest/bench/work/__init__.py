"""What is measured, one kind of work in each module.

Each function takes a running target and clients that are connected to it, and returns its figures by name. CPU is that
of all processes of the target together, in microseconds for one unit of the work.
"""
