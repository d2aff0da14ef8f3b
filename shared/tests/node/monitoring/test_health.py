"""What every node answers about itself."""

import httpx
from starlette.applications import Starlette

from sio_cluster.node.monitoring.health import Health, health_routes
from sio_cluster.testing.http import http_client


class World:
    def __init__(self) -> None:
        self.dead = self.unready = ""
        metrics = b"# HELP x\n"
        health = Health("io1-aaaaaa", lambda: self.dead, lambda: self.unready, lambda: metrics)
        app = Starlette(routes=health_routes(health))
        self.http = http_client(transport=httpx.ASGITransport(app), base_url="http://node")


async def test_all_is_well() -> None:
    world = World()
    for path, status in (("/healthz", "alive"), ("/readyz", "ready")):
        answer = await world.http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": status, "node": "io1-aaaaaa"})
        assert answer.headers["cache-control"] == "no-store"
        assert (await world.http.head(path)).status_code == 200


async def test_what_is_wrong_is_said() -> None:
    world = World()
    world.dead, world.unready = "a loop failed", "the node is starting"
    for path, status, why in (("/healthz", "dead", world.dead), ("/readyz", "unready", world.unready)):
        answer = await world.http.get(path)
        assert (answer.status_code, answer.json()) == (503, {"status": status, "why": why, "node": "io1-aaaaaa"})
        assert (await world.http.head(path)).status_code == 503


async def test_metrics_are_served_as_prometheus_reads_them() -> None:
    answer = await World().http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.content == b"# HELP x\n"
