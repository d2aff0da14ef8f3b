"""/metrics for Prometheus, where locust has no web interface that could have it."""

from collections.abc import Callable, Iterable
from typing import Any

from gevent.pywsgi import WSGIServer

from loadtest.accounting.result import Snapshot
from loadtest.reporting.exposition import exposition


def serve(environment: Any, snapshot: Callable[[], Snapshot]) -> None:
    """Serves it on the master, or in the only process, for as long as locust runs. Without --metrics-port, and beside
    a web interface, it does nothing. Raises OSError where the port is taken."""
    options = environment.parsed_options
    if environment.web_ui is not None or not options.metrics_port:
        return

    def answer(request: Any, start_response: Any) -> Iterable[bytes]:
        if request["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"Only /metrics is here\n"]
        start_response("200 OK", [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")])
        return [exposition(snapshot()).encode()]

    WSGIServer((_address(options.web_host), options.metrics_port), answer, log=None).start()


def _address(web_host: str) -> str:
    """Locust's "" and "*" are all addresses. Of IPv4: a machine may have no IPv6, and Prometheus asks there."""
    return "0.0.0.0" if web_host in ("", "*") else web_host
