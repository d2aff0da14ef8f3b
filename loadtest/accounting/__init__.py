"""Counts every emit and every delivery of a load test, and finds out what is missing, doubled or out of order.

Imports nothing else of loadtest. It does no IO; `clock.Clock` alone reads the time.

| module | holds |
|---|---|
| `message` | the text of a published message, which says who sent it, when, and which number it has |
| `member` | what one client received; the hot path of the load generator |
| `account` | all that one process measures, and what its publishers sent |
| `worker_report` | what a worker process tells the master, each second and at the end |
| `run` | all workers together, and the `Result` |
| `settle` | compares emits with deliveries: due, lost, duplicated, reordered, uncertain |
| `generator` | whether the load generator itself kept up |
| `histogram`, `clock` | latencies in buckets; one clock for several machines |
| `result` | the outcome of a run, as `result.json` has it |

All times are microseconds of one clock that the load machines agree on.
"""
