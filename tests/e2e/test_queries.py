"""Queries give the same answer from every app-node, whatever node is killed or stands still."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.conformance.raw import Wire
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV, answer
from tests.e2e.test_rooms import answer_told

import app_node
from sio_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

APP = str(ROOT / "tests/e2e/rooms_app.py") + ":sio"


async def told(wires: list[Wire]) -> list[Any]:
    """What all their handlers say of the room, without doubles."""
    answers: list[Any] = await asyncio.gather(*(answer(wire, '["who","a"]') for wire in wires))
    return [each for index, each in enumerate(answers) if each not in answers[:index]]


def truth(inside: list[str], number: int) -> list[Any]:
    rooms = {"a": len(inside)} if inside else {}
    return [[len(inside), sorted(inside), sorted(inside), list(rooms), number, rooms]]


async def until_counted(sio: app_node.ClusterServer, number: int) -> None:
    async with asyncio.timeout(30):
        while await sio.count() != number:  # Redis tells nobody
            await asyncio.sleep(0.05)


async def test_every_app_node_tells_the_truth() -> None:
    env = ENV | {"RECOVERY_WINDOW_MS": "0"}
    async with (
        Stack(io_nodes=2, app_nodes=3, app=APP, port=0, env=env) as stack,
        AsyncExitStack() as connections,
    ):
        sio = app_node.get_client({"REDIS_URL": stack.redis_url})
        connections.push_async_callback(sio.shutdown)
        first, second = [
            [await connections.enter_async_context(Wire.open(node.url)) for _ in range(8)] for node in stack.io_nodes
        ]
        sids = [await wire.join(packets=1) for wire in (*first, *second)]
        inside = [*sids[:4], *sids[8:12]]
        for sid in inside:
            await answer_told(first[0], f'["enter","{sid}","a"]')
        for wire in (*first[1:4], *second[:4]):
            await wire.receive()
        await until_counted(sio, 16)
        assert await told([*first, *second]) == truth(inside, 16)

        os.kill(stack.io_nodes[1].pid, signal.SIGSTOP)  # asks nobody
        assert (await sio.count("a"), len(await sio.clients("a"))) == (8, 8)
        os.kill(stack.io_nodes[1].pid, signal.SIGCONT)
        await stack.stop_app_node(0, signal.SIGKILL)
        assert (await sio.count("a"), len(await sio.clients("a"))) == (8, 8)
        assert await told([*first, *second]) == truth(inside, 16)

        await stack.remove_io_node(1, signal.SIGKILL)
        assert await sio.count("a") == 8  # nobody knows yet
        await until_counted(sio, 8)
        assert await told(first) == truth(inside[:4], 8)
