"""Who is present, while nodes are killed and clients come and go: real processes, real Redis.

Then what Phoenix' own JavaScript helper, and that of the chat's page, make of what stock clients get.
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import socketio
from tests.conftest import ROOT, node
from tests.e2e.test_restart_app import ENV

from sio_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.ci_only, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

APP = str(ROOT / "tests/e2e/presence_app.py") + ":sio"
USERS = 4
STEPS = 30
SCRIPT = Path(__file__).parent / "js/presence.mjs"
WAIT_S = 30


class Tab:
    """One client. `seen`: whom it sees in the yard, as the page of a browser does: ref -> key and data."""

    def __init__(self) -> None:
        self.io = socketio.AsyncClient(reconnection=False)
        self.seen: dict[str, tuple[str, int]] = {}
        self.io.on("presence_state", self._state)
        self.io.on("presence_diff", self._diff)

    async def _state(self, state: Any, room: str) -> None:
        self.seen = by_ref(state)

    async def _diff(self, diff: Any, room: str) -> None:
        self.seen |= by_ref(diff["joins"])
        for ref in by_ref(diff["leaves"]):
            self.seen.pop(ref, None)


def by_ref(state: Any) -> dict[str, tuple[str, int]]:
    return {meta["phx_ref"]: (key, meta["tab"]) for key, shown in state.items() for meta in shown["metas"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(io_nodes=2, app_nodes=2, app=APP, port=0, env=ENV) as running:
        yield running


async def come(stack: Stack, around: AsyncExitStack, key: str, number: int) -> Tab:
    tab = Tab()
    await tab.io.connect(stack.url, transports=["websocket"], wait_timeout=30)
    around.push_async_callback(tab.io.disconnect)
    await tab.io.emit("come", (key, number, "yard"))
    return tab


async def test_whoever_stays_sees_who_is_there_and_nobody_else(stack: Stack) -> None:
    rng = random.Random(5)
    there: dict[int, tuple[str, Tab]] = {}
    async with AsyncExitStack() as around:
        watcher = await come(stack, around, "watcher", -1)
        for number in range(STEPS):
            if number % 10 == 5:  # what follows happens while the others do not know yet
                await stack.stop_app_node(0, signal.SIGKILL)
                await stack.start_app_node()
            if there and rng.random() < 0.4:
                _, gone = there.pop(rng.choice(list(there)))
                await (gone.io.emit("leave", "yard") if rng.random() < 0.5 else gone.io.disconnect())
            else:
                key = f"user{rng.randrange(USERS)}"
                there[number] = (key, await come(stack, around, key, number))
        expected = sorted([("watcher", -1), *((key, number) for number, (key, _) in there.items())])
        for tab in (watcher, *(tab for _, tab in there.values())):
            await until_it_sees(tab, expected)
        listed = by_ref(await watcher.io.call("listed", "yard", timeout=30))
        assert sorted(listed.values()) == expected
        assert listed == watcher.seen


async def until_it_sees(tab: Tab, expected: list[tuple[str, int]]) -> None:
    try:
        async with asyncio.timeout(20):
            while sorted(tab.seen.values()) != expected:  # what comes is noted by handlers
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert sorted(tab.seen.values()) == expected


# --- In JavaScript


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


@pytest.mark.ci_only
async def test_the_helpers_show_who_is_there(stack: Stack, browsers: Browsers) -> None:
    """The last test: an app-node is missing after it."""
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
