"""The Compose stack of this repository, up once for all its tests, under a project name and port of its own."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from tests.compose.clients import Client

from sio_stack.settings import REPOSITORY, free_ports

REPLICAS = 4


class Compose:
    """`docker compose` with this project's files. Every command is bounded in time and shows its output on failure."""

    def __init__(self, project: str = "sio-test", *, overlay: bool = True, **env: str) -> None:
        self.port, self.ui_port = free_ports(2)
        self.project = f"{project}-{os.getpid()}"
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = {**os.environ, "PORT": str(self.port), "REDIS_PASSWORD": "p@ss w/rd", "DRAIN_MS": "2000", **env}
        self._env["UI_PORT"] = str(self.ui_port)
        self._files = ("-f", "docker-compose.yml", *(("-f", "tests/compose/compose.test.yml") if overlay else ()))
        self._env.pop("REDIS_URL", None)
        self._env.pop("SIO_PURE", None)  # for tests in this process (sio_cluster.testing.pure), not for containers

    def run(self, *arguments: str, timeout_s: float = 240) -> str:
        done = subprocess.run(
            ("docker", "compose", "-p", self.project, *self._files, *arguments),
            cwd=REPOSITORY,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def docker(self, *arguments: str, timeout_s: float = 60) -> str:
        """Runs `docker` itself, for containers that have ended and Compose no longer knows."""
        done = subprocess.run(("docker", *arguments), capture_output=True, text=True, timeout=timeout_s, check=False)
        assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self, **scale: int) -> None:
        """Scales services and returns when every container is healthy."""
        scales = [part for name, count in scale.items() for part in ("--scale", f"{name.replace('_', '-')}={count}")]
        self.run("up", "-d", "--no-build", "--no-recreate", "--wait", "--wait-timeout", "180", *scales)

    async def in_thread(self, what, *arguments, **options) -> None:
        """Runs a command in a thread, while clients go on."""
        await asyncio.to_thread(what, *arguments, **options)

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """What `docker inspect` says about each."""
        ids = self.run("ps", "-aq", *([service] if service else [])).split()
        if not ids:
            return []
        found = subprocess.run(("docker", "inspect", *ids), capture_output=True, check=True)
        inspected: list[dict[str, Any]] = json.loads(found.stdout)
        return inspected

    def names(self, service: str) -> set[str]:
        """The node names of a service's containers."""
        return {container["Config"]["Hostname"] for container in self.containers(service)}


def need_docker() -> None:
    """Skips the test where there is none; fails it in CI."""
    if not _docker_works():
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs a Docker with Compose")
        pytest.skip("no Docker with Compose here")


def _docker_works() -> bool:
    if shutil.which("docker") is None:
        return False
    commands = (("docker", "info"), ("docker", "compose", "version"))
    return all(
        subprocess.run(words, capture_output=True, timeout=30, check=False).returncode == 0 for words in commands
    )


@pytest.fixture(scope="session")
def compose() -> Iterator[Compose]:
    need_docker()
    compose = Compose()
    try:
        compose.run("build", timeout_s=900)
        compose.up(io_node=REPLICAS, app_node=1)
        yield compose
    except AssertionError:
        print(compose.run("logs", "--tail", "40"))
        raise
    finally:
        compose.run("down", "--volumes", "--timeout", "5")


@pytest_asyncio.fixture
async def clients(compose: Compose) -> AsyncIterator[list[Client]]:
    """Twenty-one connected clients: a third of them on each transport, a third upgraded from one to the other."""
    made = [Client(compose.url, transport) for transport in ("polling", "websocket", "upgrade") * 7]
    try:
        await asyncio.gather(*(client.connect() for client in made))
        yield made
    finally:
        await asyncio.gather(*(client.close() for client in made))
