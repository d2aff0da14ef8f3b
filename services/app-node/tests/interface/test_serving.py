"""An app-node's health checks over HTTP."""

import asyncio
import os
import signal
import socket
import time
from typing import Any

import httpx
import pytest
import uvicorn

from app_node import get_client
from app_node.interface.serving import health_app, http_server, serve
from sio_cluster.node.process import ticking
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError
from sio_cluster.testing.http import http_client


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
    node = get_client().node  # it is alive, and not started
    async with http_server(health_app(node), host, port), http_client(base_url=url) as http:
        for method in ("GET", "HEAD"):
            assert (await http.request(method, "/healthz")).status_code == 200
            assert (await http.request(method, "/readyz")).status_code == 503
        answer = (await http.get("/readyz")).json()
    assert answer == {"status": "unready", "why": "the node is starting", "node": node.id}


async def test_a_name_that_leads_nowhere_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="HEALTH_PORT"):
        async with http_server(health_app(get_client().node), "nowhere.invalid", 1):
            pass


async def test_the_port_answers_while_the_node_stops() -> None:
    """A stop may take SHUTDOWN_MS. A port that is closed meanwhile looks like a process that is dead."""
    port = free_port("127.0.0.1")
    node = get_client(Config(HEALTH_PORT=port)).node
    started, stopping, may_stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def start() -> None:
        started.set()

    async def stop() -> None:
        stopping.set()
        await may_stop.wait()

    serving = asyncio.create_task(serve(node, start, stop))
    async with asyncio.timeout(10), http_client(base_url=f"http://127.0.0.1:{port}") as http:
        await started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await stopping.wait()
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
        may_stop.set()
        await serving
        with pytest.raises(httpx.ConnectError):
            await http.get("/healthz")


async def test_metrics_are_served_as_prometheus_reads_them(memory_stage: Any) -> None:
    sio = memory_stage.echo_server()
    await sio.start()
    port = free_port("127.0.0.1")
    async with http_server(health_app(sio.node), "127.0.0.1", port), http_client() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "sio_app_lanes_held 4.0" in answer.text


async def test_a_loop_that_fails_is_death_and_gives_the_lanes_up(memory_stage: Any) -> None:
    sio = memory_stage.echo_server()
    await sio.start()
    node = sio.node
    assert (node.loops.dead_because, len(node.keeper.held)) == ("", 4)

    async def fail() -> None:
        raise ZeroDivisionError("a defect")

    node.loops.start("failing", fail())
    await node.over.wait()
    assert node.loops.dead_because == "a loop has failed: ZeroDivisionError('a defect')"
    assert node.unready_because
    assert not node.keeper.held


async def test_an_idle_server_rests_until_it_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn alone wakes up ten times a second."""
    monkeypatch.setattr(ticking, "PAUSE_S", 3_600)
    ticks = 0
    on_tick = uvicorn.Server.on_tick

    async def counted(server: uvicorn.Server, counter: int) -> bool:
        nonlocal ticks
        ticks += 1
        return await on_tick(server, counter)

    monkeypatch.setattr(uvicorn.Server, "on_tick", counted)
    port = free_port("127.0.0.1")
    async with asyncio.timeout(30), http_server(health_app(get_client().node), "127.0.0.1", port):
        while not ticks:
            await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.25)
        assert ticks == 1
    assert ticks == 2
