"""Phoenix' own JavaScript helper, and that of the chat's page, with what stock clients get while nodes are killed."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.conformance.test_js_client import node
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV

from sio_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

APP = str(ROOT / "tests/e2e/presence_app.py") + ":sio"
SCRIPT = Path(__file__).parent / "js/presence.mjs"
WAIT_S = 30

State = dict[str, list[int]]


class Browsers:
    """The process with the clients. Who was closed, or has left the room, is not asked what it sees any more."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._number = 0
        self._there: set[int] = set()

    async def come(self, key: str, tab: int) -> int:
        await self._order("come", key, tab)
        self._there.add(self._number)
        self._number += 1
        return self._number - 1

    async def show(self, client: int, tab: int) -> None:
        await self._order("show", client, tab)

    async def leave(self, client: int) -> None:
        await self._order("leave", client)
        self._there.remove(client)

    async def close(self, client: int) -> None:
        await self._order("close", client)
        self._there.remove(client)

    async def see(self) -> list[dict[str, Any]]:
        """What each of those that are there sees."""
        seen = await self._order("see")
        return [seen[client] for client in sorted(self._there)]

    async def all_see(self, **expected: list[int]) -> None:
        """Waits until both helpers of all show these keys, with these tabs."""
        windows = {key: len(tabs) for key, tabs in expected.items()}
        wanted = (expected, windows)
        try:
            async with asyncio.timeout(WAIT_S):
                while any((one["phoenix"], one["page"]) != wanted for one in await self.see()):  # asks a process
                    await asyncio.sleep(0.02)
        except TimeoutError:
            assert [(one["phoenix"], one["page"]) for one in await self.see()] == [wanted] * len(self._there)

    async def _order(self, *order: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(WAIT_S):
            return json.loads(await self._process.stdout.readline())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(io_nodes=2, app_nodes=2, app=APP, port=0, env=ENV | {"LINGER_S": "10"}) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def browsers(stack: Stack) -> AsyncIterator[Browsers]:
    process = await asyncio.create_subprocess_exec(
        node(), SCRIPT, stack.url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        limit=1 << 24,
    )  # fmt: skip
    yield Browsers(process)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


async def test_the_helpers_show_who_is_there(stack: Stack, browsers: Browsers) -> None:
    await browsers.come("grace", 0)
    await browsers.all_see(grace=[0])
    one, two, three = [await browsers.come("ada", tab) for tab in (1, 2, 3)]
    await browsers.all_see(grace=[0], ada=[1, 2, 3])
    await browsers.show(two, 7)
    await browsers.all_see(grace=[0], ada=[1, 3, 7])
    await browsers.leave(one)
    await browsers.close(three)
    await browsers.all_see(grace=[0], ada=[7])

    grace, _ = await browsers.see()
    [victim] = [io_node for io_node in stack.io_nodes if grace["sid"].startswith(f"{io_node.name}-")]
    os.kill(victim.pid, signal.SIGKILL)
    await stack.stop_app_node(0, signal.SIGKILL)
    await browsers.come("hedy", 4)
    await browsers.all_see(grace=[0], ada=[7], hedy=[4])
    await browsers.close(two)
    await browsers.all_see(grace=[0], hedy=[4])

    grace, hedy = await browsers.see()
    assert (grace["moves"], grace["pageMoves"]) == (
        [["came", "grace"], ["came", "ada"], ["came", "hedy"], ["went", "ada"]],
        [["came", "ada"], ["came", "hedy"], ["went", "ada"]],
    )
    assert hedy["moves"][-1] == ["went", "ada"]
    assert (grace["recoveries"], hedy["recoveries"]) == (1, 0)
