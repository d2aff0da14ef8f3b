"""The HTTP API: `sio-cluster api`, for programs that are not written in Python, or do not want to know Redis.

A request passes `door` (who is it, is it small enough), `routes` (what does it ask for, may this key ask for it),
`once` (was it asked before) and `desk` (which carries it out). `requests` says what may be asked for, `problems` what
is answered instead. `questions` has what is only read. `serving` runs all of it as a process.

May import all of app_node except for `app_node.cli` and `app_node.commands`.
"""
