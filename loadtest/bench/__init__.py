"""`make bench`: this cluster and its peers side by side, with the same handlers and the same load, in one run.

- `servers`: the applications under test. Each has the handlers of `servers/handlers.py`.
- `targets`: starts them, and counts the CPU time and memory of all their processes.
- `load`: the clients, in this process.
- `work`: what is measured. Each module is one kind of work, and says what its figures mean.
- `plan`: which targets are measured at which work; `sizes`: how much of it. `rounds` goes through it several times.
- `rows`: which figures the report has, and what they are called.
- `report`, `chart`, `docs`: medians and ratios; an SVG of the ratios; the tables of README.md and docs/performance.md.

May import `sio_stack` and `sio_cluster.testing`.
"""
