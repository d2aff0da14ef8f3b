"""What is said to a room costs only io-nodes with members: counted on a real cluster, and hunted behind each join."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tests.chaos.balance import scrape
from tests.conformance.raw import Wire
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV

import app_node
from app_node import ClusterServer
from sio_stack import Stack

pytestmark = [pytest.mark.forked, pytest.mark.e2e, pytest.mark.timeout(180)]

APP = str(ROOT / "tests/e2e/rooms_app.py") + ":sio"
IO_NODES, ROUNDS = 4, 300


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[Stack, list[Wire], list[str], ClusterServer]]:
    """A client at each io-node, with its sid, and a process that only emits. All io-nodes have their accounts."""
    async with Stack(io_nodes=IO_NODES, app_nodes=2, app=APP, port=0, env=ENV) as stack, AsyncExitStack() as opened:
        wires = [await opened.enter_async_context(Wire.open(node.url)) for node in stack.io_nodes]
        sids = [await wire.join(packets=1) for wire in wires]
        sio = app_node.get_client({"REDIS_URL": stack.redis_url})
        opened.push_async_callback(sio.shutdown)
        async with asyncio.timeout(30):
            for number in itertools.count():
                before = await read(stack)
                await sio.emit("nothing", room=f"nobody {number}")
                await asyncio.sleep(0.1)
                if await read(stack) == before:
                    break
        yield stack, wires, sids, sio


async def read(stack: Stack) -> list[float]:
    """How many commands each io-node has read."""
    return [(await scrape(node.url)).total("sio_io_commands_read_total") for node in stack.io_nodes]


async def heard(wire: Wire) -> Any:
    """The next message of a client, but for that it was moved."""
    while (message := await wire.receive(30)) == '42["told"]':
        pass
    return message


async def test_only_io_nodes_with_members_hear_of_a_room() -> None:
    async with cluster() as (stack, wires, sids, sio):
        for wire, sid in zip(wires[:2], sids[:2], strict=True):
            await answer_told(wire, f'["enter","{sid}","lobby"]')
        before = await read(stack)
        for number in range(20):
            await sio.emit("news", number, room="lobby")
            await sio.emit("news", number, room="nobody")
            await sio.emit("news", number, room=["nobody", f"another {number}"])
            await sio.close_room("nobody")
        for wire in wires[:2]:
            assert [await heard(wire) for _ in range(20)] == [f'42["news",{number}]' for number in range(20)]
        after = await read(stack)
        assert [now - then for now, then in zip(after, before, strict=True)] == [20, 20, 0, 0]
        await sio.emit("bye")
        assert {await heard(wire) for wire in wires} == {'42["bye"]'}

        await wires[0].send("41")  # it leaves the cluster, and with it the room
        async with asyncio.timeout(30):
            while True:
                before = await read(stack)
                await sio.emit("more", room="lobby")
                assert await heard(wires[1]) == '42["more"]'
                if (await read(stack))[0] == before[0]:
                    break
                await asyncio.sleep(0.1)


@pytest.mark.ci_only
async def test_whoever_emits_behind_enter_room_reaches_the_client() -> None:
    """Through a handler of another client, for each round in a room of its own that was empty a moment ago, also while
    the client's io-node stands still."""
    async with cluster() as (stack, wires, sids, sio):
        stalled = stack.io_nodes[1].pid
        for number in range(ROUNDS):
            member = number % IO_NODES
            stalls = member == 1 and number % 20 == 1
            if stalls:
                os.kill(stalled, signal.SIGSTOP)
            await answer_told(wires[0], f'["enter","{sids[member]}","room {number % 7}"]')
            await sio.emit("found", number, room=f"room {number % 7}")
            if stalls:
                await asyncio.sleep(0.2)
                os.kill(stalled, signal.SIGCONT)
            assert await heard(wires[member]) == f'42["found",{number}]'
            await sio.close_room(f"room {number % 7}")


async def answer_told(wire: Wire, event: str) -> None:
    """Sends an event, and waits for its answer. Whoever is moved by it may be told before that, or another client."""
    await wire.send(f"421{event}")
    while (message := await wire.receive(30)) != "431[]":
        assert message == '42["told"]'
