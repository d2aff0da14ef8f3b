"""An app-node's health checks over HTTP."""

import socket
from typing import Any

import httpx
import pytest

from app_node.health import health_app, serving
from app_node.metrics import metrics_of
from sio_cluster.protocol.errors import ConfigError


def free_port(host: str) -> int:
    family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
    try:
        with socket.create_server((host, 0), family=family) as taken:
            return int(taken.getsockname()[1])
    except OSError:
        pytest.skip(f"there is no {host} here")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_get_and_head_by_ipv4_and_ipv6(host: str) -> None:
    port = free_port(host)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    async with serving(health_app(lambda: True, lambda: False), host, port), httpx.AsyncClient(base_url=url) as http:
        for method in ("GET", "HEAD"):
            assert (await http.request(method, "/healthz")).status_code == 200
            assert (await http.request(method, "/readyz")).status_code == 503


async def test_a_name_that_leads_nowhere_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="HEALTH_PORT"):
        async with serving(health_app(lambda: True, lambda: True), "nowhere.invalid", 1):
            pass


async def test_metrics_are_served_as_prometheus_reads_them(memory_stage: Any) -> None:
    sio = memory_stage.server()
    await sio.start()
    port = free_port("127.0.0.1")
    app = health_app(lambda: True, lambda: True, lambda: metrics_of(sio.node))
    async with serving(app, "127.0.0.1", port), httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "sio_app_lanes_held 4.0" in answer.text
