"""What every node of the cluster is, io-node or app-node: each mechanism that both need stands here, once.

    settings         what people set, and the README's table of it
    process          the process that a node is: event loop, port, garbage collector, the application that it loads
    monitoring       what a node shows to those who run it: logs, metrics, health
    membership       a node's place in the cluster: its name, how it joins, its heartbeat, its inbox
    loops, retry     tasks that live as long as the node; trying again while Redis is away
    rest             pauses of loops, which end together
    turn             work that may go on for long without waiting

May import: `streams.api`, `protocol`. Not `streams.redis`: which bus a node runs on is decided by its `app.py`.
"""
