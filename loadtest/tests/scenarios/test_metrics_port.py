"""/metrics of a run without locust's web interface."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sio_stack.settings import free_ports

from .web_server import serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["127.0.0.1", "*", ""])
def locust(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """On loopback, as `make loadtest` has it. On all addresses, as locust writes it, and as by default: in Compose."""
    port = free_ports(1)[0]
    words = ["-f", str(Path(__file__).parent / "tab_locustfile.py"), "--headless", "--users", "1", "--host", "http://x"]
    words += ["--web-host", request.param, "--metrics-port", str(port)]
    with serving(words, port, "/metrics") as http:
        yield http


def test_prometheus_can_ask(locust: httpx.Client) -> None:
    answer = locust.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "loadtest_clients 100" in answer.text.splitlines()
    assert 'loadtest_latency_seconds{share="0.99"} 0.008' in answer.text.splitlines()


def test_nothing_else_is_there(locust: httpx.Client) -> None:
    assert locust.get("/").status_code == 404
