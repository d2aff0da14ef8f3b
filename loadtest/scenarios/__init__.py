"""What simulated browsers do, in locust's way. For an application of your own: subclass BrowserUser, call `install`.

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
