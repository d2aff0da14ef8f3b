import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis import RedisBus

from .processes import APP, COMMAND, SETTINGS, Node, Start


@pytest.fixture
def config(redis_config: Config) -> Config:
    return Config(REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, **SETTINGS)


@pytest.fixture
def start(config: Config, tmp_path: Path) -> Iterator[Start]:
    app = tmp_path / "app.py"
    app.write_text(APP)
    running: list[Node] = []
    env = os.environ | {name.upper(): str(value) for name, value in SETTINGS.items()}
    env |= {"REDIS_URL": config.redis_url or "", "REDIS_PREFIX": config.redis_prefix, "LOG_FORMAT": "json"}

    def begin(*command: str | Path, **own: str) -> Node:
        log = tmp_path / f"log{len(running)}"
        with log.open("wb") as file:
            process = subprocess.Popen(command or (COMMAND, f"{app}:sio"), env=env | own, stderr=file, cwd=tmp_path)
        running.append(Node(process, log))
        return running[-1]

    yield begin
    for node in running:
        node.process.kill()
        node.process.wait(20)


@pytest.fixture
def io(config: Config, make_stage: Any) -> Any:
    return make_stage(config, RedisBus, None)
