"""What simulated browsers do, as users of locust. This package runs inside locust.

May import `loadtest.browser`, `loadtest.accounting` and `loadtest.reporting`.

| module | holds |
|---|---|
| `browser_user` | `BrowserUser`, a locust user that is a browser |
| `steady`, `upheaval` | the eight scenarios |
| `options`, `ramp` | the options of a run; how the ramp climbs |
| `wiring` | `install`, and how master and workers talk during a run |
| `leader`, `worker`, `session` | the master's part of a run, a worker's part, and what both do with their users |
| `statistics`, `web_tab`, `machine` | deliveries in locust's statistics; the tab Fan-out; CPU and lag of this process |
| `metrics_port` | /metrics of a run without a web interface |

For an application of your own, subclass BrowserUser and call `install`:

    from locust import task
    from loadtest.scenarios import BrowserUser, install

    install()

    class Reader(BrowserUser):
        namespace = "/news"

        @task
        def read(self):
            self.call("headlines", {"since": 0})
"""

from loadtest.scenarios.browser_user import BrowserUser
from loadtest.scenarios.wiring import install

__all__ = ["BrowserUser", "install"]
