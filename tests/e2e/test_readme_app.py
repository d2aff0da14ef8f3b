"""The README's application is the same on plain python-socketio and on a cluster, but for the line that makes `sio`."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import socketio
import uvicorn
from tests.conftest import ROOT

from sio_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

WAIT_S = 30


def application() -> str:
    """The code block below the name `app.py`."""
    found = re.search(r"^\*\*`app\.py`\*\*.*?^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert found is not None
    return found[1]


@asynccontextmanager
async def on_plain_python_socketio(folder: Path) -> AsyncIterator[str]:
    """With the line that the README's comment says it was."""
    code = application().replace("import app_node\n", "import socketio\n")
    [former] = re.findall(r"; was: (sio = .*)$", code, re.M)
    code, replaced = re.subn(r"^sio = app_node\.get_client\(\)$", former, code, flags=re.M)
    assert replaced == 1
    module: dict[str, Any] = {}
    exec(code, module)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(socketio.ASGIApp(module["sio"]), log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await serving


@asynccontextmanager
async def on_a_cluster(folder: Path) -> AsyncIterator[str]:
    (folder / "app.py").write_text(application())
    async with Stack(io_nodes=1, app_nodes=1, app=f"{folder / 'app.py'}:sio", port=0) as stack:
        yield stack.url


@pytest.mark.parametrize("served", [on_plain_python_socketio, on_a_cluster])
async def test_the_same_code(served: Any, tmp_path: Path) -> None:
    async with AsyncExitStack() as around:
        url = await around.enter_async_context(served(tmp_path))
        ada, grace = [socketio.AsyncSimpleClient() for _ in range(2)]
        for client in (ada, grace):
            await client.connect(url, transports=["websocket"], wait_timeout=WAIT_S)
            around.push_async_callback(client.disconnect)
            assert await client.receive(WAIT_S) == ["welcome", {"you": client.sid}]
        assert await grace.call("say", "Hello", timeout=WAIT_S) == "sent"
        assert await ada.receive(WAIT_S) == ["said", {"who": grace.sid, "text": "Hello"}]
