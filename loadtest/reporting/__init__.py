"""What becomes of a result: judged by the limits, printed on the terminal, drawn on one page.

May import `loadtest.accounting`. The command (`loadtest.runner`) uses it, and locust's web interface.

| module | holds |
|---|---|
| `thresholds` | the limits of `loadtest/thresholds.toml`, and which of them a run broke |
| `outcome` | a run with its limits, the machine, and what the servers used: `result.json` |
| `exposition` | the figures of a run that goes on, for Prometheus |
| `tables` | the figures of a run as tables of text, for the terminal and the page |
| `terminal`, `page`, `charts` | the summary on the terminal; `report.html` and its drawings |
"""
