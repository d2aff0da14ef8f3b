"""Rooms of clients that several app-nodes serve: each client's own handlers know what any of them has changed."""

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.conformance.raw import Wire
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV, answer

from sio_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

APP = str(ROOT / "tests/e2e/rooms_app.py") + ":sio"
TOLD = '42["told"]'


async def rooms_of(wires: list[Wire]) -> tuple[set[int], list[list[str]]]:
    """Which processes answered, and which rooms each client's handler knows."""
    answers: list[Any] = await asyncio.gather(*(answer(wire, '["rooms"]') for wire in wires))
    return {pid for pid, _ in answers}, [rooms for _, rooms in answers]


async def test_every_holder_knows_the_rooms_of_its_clients() -> None:
    async with (
        Stack(io_nodes=2, app_nodes=3, app=APP, port=0, env=ENV) as stack,
        AsyncExitStack() as connections,
    ):
        wires = [
            await connections.enter_async_context(Wire.open(node.url)) for node in stack.io_nodes for _ in range(12)
        ]
        sids = [await wire.join(packets=1) for wire in wires]
        pids, known = await rooms_of(wires)
        assert len(pids) > 1, "several app-nodes serve the clients"
        assert known == [[]] * 24

        for room in ("kept", "closed"):
            for sid in sids:
                await answer_told(wires[0], f'["enter","{sid}","{room}"]')
            for wire in wires[1:]:
                assert await wire.receive() == TOLD
            assert (await rooms_of(wires))[1] == [sorted({"kept", room})] * 24

        await answer_told(wires[0], '["close","closed"]')
        for wire in wires[1:]:
            assert await wire.receive() == TOLD
        assert (await rooms_of(wires))[1] == [["kept"]] * 24

        await stack.stop_app_node(0, signal.SIGKILL)
        assert (await rooms_of(wires))[1] == [["kept"]] * 24


async def answer_told(wire: Wire, event: str) -> None:
    """Sends an event, whose handler may tell the sender too."""
    await wire.send(f"421{event}")
    while (message := await wire.receive(15)) != "431[]":
        assert message == TOLD
