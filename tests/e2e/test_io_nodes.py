"""Several io-nodes: from one to eight, and what clients notice when one of them dies."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
import socketio
from tests.conformance.raw import Poller, Wire
from tests.e2e.test_restart_app import APP, ENV
from websockets.exceptions import InvalidStatus

from sio_cluster.testing.http import http_client
from sio_stack import Stack
from sio_stack.ready import answers_http

pytestmark = [pytest.mark.forked, pytest.mark.e2e, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="class", loop_scope="module", params=[4, pytest.param(8, marks=pytest.mark.ci_only)])
async def many(request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    """Ends before the other clusters of this file start: many io-nodes need much even where nobody speaks."""
    async with Stack(io_nodes=request.param, app_nodes=1, app=APP, port=0, env=ENV) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one() -> AsyncIterator[Stack]:
    async with Stack(io_nodes=1, app_nodes=1, app=APP, port=0, env=ENV) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mortal() -> AsyncIterator[Stack]:
    async with Stack(io_nodes=2, app_nodes=1, app=APP, port=0, env=ENV) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def two(mortal: Stack) -> Stack:
    """Two io-nodes, of which one may be killed. The one that the test before has killed serves again."""
    async with asyncio.timeout(20):
        while not all([await answers_http(node.port) for node in mortal.io_nodes]):
            await asyncio.sleep(0.05)
    return mortal


class TestMany:
    async def test_everybody_hears_everybody(self, many: Stack) -> None:
        await everybody_hears_everybody(many)

    async def test_new_sessions_are_spread_by_nginx(self, many: Stack) -> None:
        async with AsyncExitStack() as connections:
            wires = [await connections.enter_async_context(Wire.open(many.url)) for _ in range(32)]
            nodes = [wire.sid.split("-")[0] for wire in wires]
            assert {nodes.count(node.name) for node in many.io_nodes} == {32 / len(many.io_nodes)}


@pytest.mark.ci_only
async def test_everybody_hears_everybody_of_one(one: Stack) -> None:
    await everybody_hears_everybody(one)


async def everybody_hears_everybody(stack: Stack) -> None:
    """Clients of both transports on every io-node; a broadcast reaches each of them once."""
    async with AsyncExitStack() as connections:
        wires = [
            await connections.enter_async_context(Wire.open(node.url)) for node in stack.io_nodes for _ in range(2)
        ]
        wires += [await connections.enter_async_context(Wire.open(stack.url)) for _ in range(8)]
        pollers = [await connections.enter_async_context(Poller.open(stack.url)) for _ in range(8)]
        names = {(await wire.join(packets=1)).split("-")[0] for wire in wires}
        assert len(names) == len(stack.io_nodes)
        for poller in pollers:
            await poller.send("40")
            assert (await poller.receive()).startswith("40{")
        for number, shouter in enumerate((wires[0], wires[-1])):
            await shouter.send(f'42["shout",{number}]')
            told = f'42["shouted",{number}]'
            assert await asyncio.gather(*(wire.receive(5) for wire in wires)) == [told] * len(wires)
            assert await asyncio.gather(*(poller.receive() for poller in pollers)) == [told] * len(pollers)


async def test_a_killed_io_node(two: Stack) -> None:
    """The application hears of each of its clients once. Other clients notice nothing. A polling client learns at once
    that its session is gone."""
    dying, staying = two.io_nodes
    async with (
        Wire.open(staying.url) as witness,
        Wire.open(dying.url) as one,
        Wire.open(dying.url) as other,
        Poller.open(dying.url) as poller,
    ):
        poller.url = two.url  # from now on through nginx, which finds its io-node by the sid
        await poller.send("3")
        await witness.join(packets=1)
        sids = {await one.join(packets=1), await other.join(packets=1)}
        os.kill(dying.pid, signal.SIGKILL)
        await one.closes()
        told = {str(message) for message in await witness.receive_many(2, 15)}
        assert told == {f'42["gone","{sid}","node lost"]' for sid in sids}
        await poller.is_gone()
        await witness.send('421["number",1]')
        assert str(await witness.receive()).startswith("431[1,")


@pytest.mark.parametrize(
    "transports",
    [*(pytest.param([name], marks=pytest.mark.ci_only) for name in ("polling", "websocket")), ["polling", "websocket"]],
)
async def test_clients_of_a_killed_io_node_come_back_elsewhere(two: Stack, transports: list[str]) -> None:
    client = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2)
    connects: asyncio.Queue[str] = asyncio.Queue()
    client.on("connect", lambda: connects.put_nowait(client.get_sid("/")))
    await client.connect(two.url, transports=transports, wait_timeout=5)
    try:
        first = await connects.get()
        os.kill(next(node.pid for node in two.io_nodes if first.startswith(f"{node.name}-")), signal.SIGKILL)
        async with asyncio.timeout(20):
            second = await connects.get()
        assert first != second
        assert (await client.call("number", 7, timeout=5))[0] == 7
    finally:
        await client.disconnect()


async def test_websockets_come_back_all_at_once_when_all_io_nodes_were_away(two: Stack) -> None:
    """nginx remembers that an io-node has failed. A WebSocket that lasts does not tell it that the io-node is back."""
    old = [node.pid for node in two.io_nodes]
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(InvalidStatus, match="502"):
        async with Wire.open(two.url):
            pass
    async with asyncio.timeout(20):
        for node, pid in zip(two.io_nodes, old, strict=True):
            while node.pid in (0, pid) or not await answers_http(node.port, "/readyz"):
                await asyncio.sleep(0.05)
    async with AsyncExitStack() as connections, asyncio.timeout(5):
        wires = [connections.enter_async_context(Wire.open(two.url)) for _ in range(20)]
        nodes = {wire.sid.split("-")[0] for wire in await asyncio.gather(*wires)}
    assert nodes == {node.name for node in two.io_nodes}


async def test_io_nodes_come_and_go(two: Stack) -> None:
    async with Wire.open(two.io_nodes[0].url) as old:
        await old.join(packets=1)
        added = await two.add_io_node()
        async with Wire.open(added.url) as new:
            sid = await new.join(packets=1)
            assert sid.startswith(f"{added.name}-")
            await old.send('42["shout","both"]')
            for wire in (old, new):
                while (news := str(await wire.receive(5))) != '42["shouted","both"]':
                    assert news.startswith('42["gone",')  # a client of an earlier test
            await two.remove_io_node()
            await new.closes(5)
        while not (news := str(await old.receive(5))).startswith(f'42["gone","{sid}"'):
            assert news.startswith('42["gone",')  # a client of an earlier test


async def test_metrics_are_not_for_those_outside(two: Stack) -> None:
    async with http_client() as http:
        for path in ("/metrics", "//metrics", "/%6detrics", "/x/../metrics"):
            assert (await http.get(f"{two.url}{path}")).status_code == 404
        inside = await http.get(f"{two.io_nodes[0].url}/metrics")
        assert inside.status_code == 200
        assert "sio_io_facts_accepted_total" in inside.text


async def test_each_step_of_a_message_is_timed(two: Stack) -> None:
    async with Wire.open(two.io_nodes[0].url) as wire:
        await wire.join(packets=1)
        await wire.send('42["shout","timed"]')
        while str(await wire.receive(5)) != '42["shouted","timed"]':
            pass
    async with http_client() as http:
        of_io_node = (await http.get(f"{two.io_nodes[0].url}/metrics")).text
        of_app_node = (await http.get(f"{two.app_nodes[0].url}/metrics")).text
    for name in ("io_uplink_wait", "io_inbox_wait", "io_fan_out", "io_loop_lag"):
        count, seconds = _timed(of_io_node, f"sio_{name}_seconds")
        assert count > 0, name
        assert 0 < seconds < 5 * count, name
    for name in ("app_lane_wait", "app_outbox_wait", "app_loop_lag"):
        count, seconds = _timed(of_app_node, f"sio_{name}_seconds")
        assert count > 0, name
        assert 0 < seconds < 5 * count, name
    assert 'sio_app_handler_seconds_count{event="shout"}' in of_app_node
    assert "sio_build_info{" in of_io_node
    assert "sio_build_info{" in of_app_node


def _timed(metrics: str, name: str) -> tuple[float, float]:
    """How often this was measured, and how many seconds in all."""
    count, seconds = (re.search(rf"^{name}_{part} (.*)$", metrics, re.MULTILINE) for part in ("count", "sum"))
    assert count is not None
    assert seconds is not None
    return float(count[1]), float(seconds[1])
