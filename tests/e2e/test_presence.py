"""Who is present, while app-nodes are killed and clients come and go: real processes, real Redis."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
import socketio
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV

from sio_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

APP = str(ROOT / "tests/e2e/presence_app.py") + ":sio"
USERS = 4
STEPS = 30


class Tab:
    """One client. `seen`: whom it sees in the lobby, as the page of a browser does: ref -> key and data."""

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
    await tab.io.emit("come", (key, number))
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
                await (gone.io.emit("leave") if rng.random() < 0.5 else gone.io.disconnect())
            else:
                key = f"user{rng.randrange(USERS)}"
                there[number] = (key, await come(stack, around, key, number))
        expected = sorted([("watcher", -1), *((key, number) for number, (key, _) in there.items())])
        for tab in (watcher, *(tab for _, tab in there.values())):
            await until_it_sees(tab, expected)
        listed = by_ref(await watcher.io.call("listed", timeout=30))
        assert sorted(listed.values()) == expected
        assert listed == watcher.seen


async def until_it_sees(tab: Tab, expected: list[tuple[str, int]]) -> None:
    try:
        async with asyncio.timeout(20):
            while sorted(tab.seen.values()) != expected:  # what comes is noted by handlers
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert sorted(tab.seen.values()) == expected
