import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from sio_cluster.node.settings.config import Config
from sio_stack import Stack, parts
from sio_stack.process import Command
from sio_stack.ready import answers_http

_STANDIN = str(Path(__file__).parent / "standin_node.py")


def _standin(name: str, port: int, target: str | None, config: Config, env: Mapping[str, str]) -> Command:
    return Command(
        name,
        (sys.executable, _STANDIN, str(port)),
        {**env, "NODE_NAME": name},
        Path.cwd(),
        partial(answers_http, port),
        signal.SIGTERM,
        grace_s=5,
    )


async def _no_check(*_arguments: object) -> None:
    """There is no application for a stand-in to load."""


@pytest.fixture
def said() -> "asyncio.Queue[str]":
    """What the stack says about its parts."""
    return asyncio.Queue()


@pytest_asyncio.fixture
async def stack(said: asyncio.Queue[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    """Valkey, nginx and three stand-ins for nodes."""
    monkeypatch.setattr(parts, "io_node", _standin)
    monkeypatch.setattr(parts, "app_node", _standin)
    monkeypatch.setattr("sio_stack.stack.check_targets", _no_check)
    async with Stack(
        io_nodes=2, app_nodes=1, app="none:sio", on_notice=lambda name, text: said.put_nowait(text)
    ) as stack:
        yield stack
