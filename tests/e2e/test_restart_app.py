"""The promise that the cluster is built for: the application stops, dies and grows under its connected clients."""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.conformance.raw import Poller, Wire
from tests.conftest import ROOT
from tests.e2e.load import Load

from sio_stack import Stack

pytestmark = [pytest.mark.forked, pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

APP = str(ROOT / "tests/e2e/app.py") + ":sio"
ENV = {"LEASE_MS": "1000", "HEARTBEAT_MS": "300", "NODE_TIMEOUT_MS": "3000", "DRAIN_MS": "200", "LOG_FORMAT": "json"}
CLIENTS = 50
EVENTS_PER_S = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Stack]:
    async with Stack(io_nodes=2, app_nodes=1, app=APP, port=0, env=ENV) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def stack(cluster: Stack) -> Stack:
    """The cluster of this file, again with one app-node, whatever the test before has left."""
    while len(cluster.app_nodes) > 1:
        await cluster.stop_app_node()
    if not cluster.app_nodes:
        await cluster.start_app_node()
    return cluster


ack_ids = itertools.count()


async def answer(wire: Wire, event: str, namespace: str = "") -> Any:
    """Sends an event (a JSON array) and returns the ack, even if the application is away for a while.

    What else comes is skipped: repeated acks of earlier events (an app-node that was killed may have answered, and its
    successor answers again), and news of a client of an earlier test that has gone.
    """
    ack_id = f"{namespace}{next(ack_ids)}"
    await wire.send(f"42{ack_id}{event}")
    while not (reply := str(await wire.receive(15))).startswith(f"43{ack_id}["):
        assert reply.startswith(("43", '42["gone",'))
    return json.loads(reply[2 + len(ack_id) :])


async def test_clean_stop_and_kill_under_load(stack: Stack) -> None:
    """50 clients, 20 numbered events a second each. No client disconnects, every event gets its ack, in order."""
    async with Load([stack.url], CLIENTS, EVENTS_PER_S) as load:
        await load.progress(20, within_s=15)

        await stack.stop_app_node(0, signal.SIGTERM)
        await load.sends(20)
        await stack.start_app_node()
        await load.progress(30, within_s=30)
        assert load.repeated == 0, "a clean stop hands nothing over twice"

        await stack.stop_app_node(0, signal.SIGKILL)
        await load.sends(20)
        await stack.start_app_node()
        await load.progress(30, within_s=30)

        await load.finish(within_s=30)
        load.judge()
        assert len(load.pids) == 3


async def test_one_app_node_becomes_three_and_one_again(stack: Stack) -> None:
    async with Load([node.url for node in stack.io_nodes], 50, EVENTS_PER_S) as load:
        await load.progress(10, within_s=15)
        await stack.start_app_node()
        await stack.start_app_node()
        await load.progress(20, within_s=20)
        three = {node.pid for node in stack.app_nodes}
        while not load.pids >= three:
            await load.progress(5, within_s=20)
        await stack.stop_app_node(0, signal.SIGTERM)
        await stack.stop_app_node(0, signal.SIGTERM)
        await load.progress(20, within_s=20)
        await load.finish(within_s=20)
        load.judge()
        assert load.repeated == 0, "a planned move hands nothing over twice"


async def test_a_killed_app_node_leaves_its_clients_to_the_others(stack: Stack) -> None:
    async with Load([stack.url], 50, EVENTS_PER_S) as load:
        await stack.start_app_node()
        await load.progress(20, within_s=20)
        os.kill(stack.app_nodes[0].pid, signal.SIGKILL)  # the stack restarts it
        await load.progress(40, within_s=30)
        await load.finish(within_s=30)
        load.judge()


async def test_is_reconnect_and_sessions(stack: Stack) -> None:
    """A connect handler that takes `is_reconnect` runs once more in each new application, before the first event; one
    that does not runs once in a client's life. Sessions outlast the application."""
    async with Wire.open(stack.url) as wire:
        await wire.join("/plain", packets=1)
        await wire.join("/", packets=1)  # last, since news of clients of earlier tests come here
        assert await answer(wire, '["remember",{"cart":[1,2]}]') == []
        first = (await answer(wire, '["recall"]'))[0]
        assert first["session"] == {"connects": 1, "value": {"cart": [1, 2]}}
        for restarts, how in enumerate((signal.SIGTERM, signal.SIGKILL), start=1):
            await stack.stop_app_node(0, how)
            await stack.start_app_node()
            recalled = [(await answer(wire, '["recall"]'))[0] for _ in range(2)]
            for now in recalled:
                assert now["pid"] == stack.app_nodes[0].pid
                assert now["session"] == {"connects": 1, "reconnects": restarts, "value": {"cart": [1, 2]}}
            plain = (await answer(wire, '["recall"]', "/plain,"))[0]
            assert plain["pid"] == stack.app_nodes[0].pid
            assert plain["session"] == {"connects": 1}


async def test_what_happens_meanwhile_waits(stack: Stack) -> None:
    """While no application lives, nobody is dropped: events wait, CONNECTs wait, disconnects are told later."""
    async with Wire.open(stack.url) as old, Wire.open(stack.url) as leaver, Poller.open(stack.url) as poller:
        await old.join(packets=1)
        leaver_sid = await leaver.join(packets=1)
        await stack.stop_app_node(0, signal.SIGTERM)
        await old.send('421["number",1]')
        await poller.send("40")
        async with Wire.open(stack.url) as newcomer:
            await newcomer.send("40")
            await leaver.socket.close()
            with pytest.raises(AssertionError, match="nothing came"):
                await newcomer.receive(1)
            await stack.start_app_node()
            assert str(await newcomer.receive(10)).startswith("40{")
            arrived = {str(message) for message in await old.receive_many(2, 10)}
            assert f'42["gone","{leaver_sid}","transport close"]' in arrived
            assert any(message.startswith("431[1,") for message in arrived)
            assert (await asyncio.wait_for(poller.receive(), 10)).startswith("40{")


async def test_rooms_outlast_the_application(stack: Stack) -> None:
    """The connect handler joined a room in the first application; the second one emits to it."""
    async with Wire.open(stack.io_nodes[0].url) as one, Wire.open(stack.io_nodes[1].url) as other:
        await one.join(packets=1)
        await other.join(packets=1)
        await stack.stop_app_node(0, signal.SIGKILL)
        await stack.start_app_node()
        await one.send('42["shout","hello"]')
        assert await one.receive(10) == await other.receive(10) == '42["shouted","hello"]'
