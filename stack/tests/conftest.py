import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
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


@pytest.fixture
def said() -> "asyncio.Queue[str]":
    """What the stack says about its parts."""
    return asyncio.Queue()


@pytest_asyncio.fixture
async def stack(said: asyncio.Queue[str]) -> AsyncIterator[Stack]:
    """Valkey, nginx and three stand-ins for nodes."""
    async with _stand_ins(lambda name, text: said.put_nowait(text)) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_stack() -> AsyncIterator[Stack]:
    """The same for all tests of a file that leave it as it is."""
    async with _stand_ins(lambda name, text: None) as stack:
        yield stack


@asynccontextmanager
async def _stand_ins(on_notice: Callable[[str, str], None]) -> AsyncIterator[Stack]:
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(parts, "io_node", _standin)
        patches.setattr(parts, "app_node", _standin)
        async with Stack(io_nodes=2, app_nodes=1, app="none:sio", on_notice=on_notice) as stack:
            yield stack
