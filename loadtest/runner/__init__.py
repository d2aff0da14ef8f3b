"""`make loadtest`: finds or starts a cluster, runs locust against it, and says what came out.

| module | knows |
|---|---|
| `options` | what was asked for |
| `probe`, `cluster` | whether a cluster answers; the embedded one |
| `locust_process` | the command, the output and the end of locust |
| `sampler` | CPU time and memory of the embedded cluster's processes |
| `thresholds` | the limits of `loadtest/thresholds.toml`, and which of them a run broke |
| `screen`, `summary` | the terminal while it runs, and at its end |
| `charts`, `page` | `report.html` |
| `tab` | the tab in locust's web interface (this one runs inside locust) |
| `run` | all of it, in order |
"""
