"""`python -m loadtest`: finds or starts a cluster, runs locust against it, and says what came out.

May import the rest of loadtest, and `sio_stack` for the embedded cluster. Nothing imports this package.

| module | holds |
|---|---|
| `options` | what was asked for, checked |
| `cluster` | whether a cluster answers; the embedded one |
| `locust_process` | locust's command, output and end |
| `sampler` | CPU time and memory of the embedded cluster's processes |
| `screen` | what the terminal shows during a run |
| `stop` | Ctrl-C |
| `run`, `web` | one run, from its checks to its exit status; `make loadtest-ui` |
"""
