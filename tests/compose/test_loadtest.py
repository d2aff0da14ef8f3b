"""`docker compose --profile loadtest`: a master and two workers against the Compose stack, without anybody's help."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.compose.conftest import Compose, need_docker

from sio_cluster.testing.http import http_client

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

USERS, WORKERS = 40, 2


@pytest.fixture(scope="module")
def loadtest() -> Iterator[Compose]:
    """The cluster with the chat example, and a load test of ten seconds that has begun."""
    need_docker()
    run = {"HEADLESS": "true", "WORKERS": str(WORKERS), "USERS": str(USERS), "SPAWN_RATE": "40", "RUN_TIME": "10s"}
    compose = Compose("sio-load", overlay=False, COMPOSE_PROFILES="loadtest", **run)
    try:
        compose.run("build", timeout_s=900)
        scale = ("--scale", "io-node=2", "--scale", f"loadtest-worker={WORKERS}")
        compose.run("up", "-d", "--no-build", *scale)
        yield compose
    except AssertionError:
        print(compose.run("logs", "--tail", "40"))
        raise
    finally:
        compose.run("down", "--volumes", "--timeout", "5")


def test_its_containers_are_hardened(loadtest):
    containers = [*loadtest.containers("loadtest-master"), *loadtest.containers("loadtest-worker")]
    assert len(containers) == 1 + WORKERS
    for container in containers:
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"] == "10001", name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        for bindings in container["NetworkSettings"]["Ports"].values():
            assert {binding["HostIp"] for binding in bindings or []} <= {"127.0.0.1"}, name


async def test_prometheus_can_ask_for_its_figures_without_a_web_interface(loadtest):
    async with http_client(base_url=f"http://127.0.0.1:{loadtest.ui_port}") as http, asyncio.timeout(60):
        while not await _counts_clients(http):  # containers start
            await asyncio.sleep(0.2)


async def _counts_clients(http: httpx.AsyncClient) -> bool:
    try:
        answer = await http.get("/metrics")
    except httpx.TransportError:
        return False
    return f"loadtest_clients {USERS}" in answer.text.splitlines()


async def test_it_measures_the_cluster_and_loses_nothing(loadtest, tmp_path: Path):
    (master,) = loadtest.containers("loadtest-master")
    ended = await asyncio.to_thread(loadtest.docker, "wait", master["Id"], timeout_s=120)
    assert ended.strip() == "0", loadtest.run("logs", "loadtest-master", "loadtest-worker")
    loadtest.docker("cp", f"{master['Id']}:/report/measured.json", str(tmp_path))
    result = json.loads((tmp_path / "measured.json").read_text())
    assert result["totals"]["clients_max"] == USERS
    assert result["totals"]["deliveries"] > 0
    assert (result["integrity"]["lost"], result["integrity"]["duplicated"], result["integrity"]["reordered"]) == (
        0,
        0,
        0,
    )
    assert len(result["generator"]["workers"]) == WORKERS
    assert set(result["clients_by_io_node"]) == loadtest.names("io-node")
