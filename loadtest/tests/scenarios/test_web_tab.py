"""The tab in locust's real web interface."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sio_stack.settings import free_ports

from .web_server import serving

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def locust() -> Iterator[httpx.Client]:
    """A client of locust's web interface. A run has ended before."""
    port = free_ports(1)[0]
    words = [
        "-f",
        str(HERE / "tab_locustfile.py"),
        "--host",
        "http://x",
        "--web-host",
        "127.0.0.1",
        "--web-port",
        str(port),
    ]
    result = HERE.parent / "accounting/sample_result.json"
    with serving(words, port, "/", {"LOADTEST_RESULT": str(result)}) as http:
        yield http


@pytest.mark.slow
def test_prometheus_can_ask(locust):
    lines = locust.get("/metrics").text.splitlines()
    assert "loadtest_clients 100" in lines
    assert "loadtest_deliveries_per_second 4321" in lines
    assert 'loadtest_latency_seconds{share="0.99"} 0.008' in lines
    assert "loadtest_messages_missing 2" in lines


@pytest.mark.slow
def test_the_tab_is_there_and_has_figures(locust):
    page = locust.get("/").text
    assert '"extended_tabs": [{"key": "fan-out", "title": "Fan-out"}]' in page
    (table,) = locust.get("/stats/requests").json()["extended_stats"]
    assert table["key"] == "fan-out"
    rows = {row["figure"]: row["now"] for row in table["data"]}
    assert rows["Deliveries a second"] == "4,321"
    assert rows["Megabytes a second"] == "2.5"
    assert rows["Seem lost so far"] == "2"


@pytest.mark.slow
def test_the_report_is_that_of_the_run_that_ended_last(locust):
    report = locust.get("/fan-out/report")
    assert report.status_code == 200
    assert "19,322" in report.text
