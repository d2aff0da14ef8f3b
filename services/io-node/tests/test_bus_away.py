"""The application or Redis is away for a while, or Redis has lost its data."""

import asyncio

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.valkey import start_valkey

from .by_hand import open_raw
from .tiny_app import FAST, kinds, serving

pytestmark = pytest.mark.slow


async def test_connects_wait_for_the_application() -> None:
    async with serving(Config(FAST), MemoryBroker()) as world, open_raw(world) as raw:
        app = world.app
        app.accepting = False
        await raw.send("40")
        await app.wait_for(lambda facts: kinds(facts, ClientConnected) != [])
        (fact,) = kinds(app.facts, ClientConnected)
        await app.send(fact.sid, *app._connect(fact))
        assert await raw.receive() == f'40{{"sid":"{fact.sid}"}}'


async def test_redis_stalls_and_comes_back() -> None:
    """Clients stay, both directions go on in order, nothing is lost or doubled."""
    with start_valkey() as server:
        config = Config(FAST, REDIS_URL=server.url, UPLINK_BUFFER_BYTES=20_000)
        async with serving(config, None) as world, open_raw(world) as raw:
            sid = await raw.connect()
            server.pause()
            sending = asyncio.create_task(
                raw.send(*(f'42{number}["message-with-ack",{number},"{"x" * 1_000}"]' for number in range(2_000)))
            )
            async with asyncio.timeout(10):
                while world.node.backpressure.pauses == 0:
                    await asyncio.sleep(0.01)
            server.resume()
            for number in range(2_000):
                answer = await raw.receive()
                assert isinstance(answer, str)
                assert answer.startswith(f"43{number}[{number},")
            await sending
            counters = world.node.client_counters
            assert counters.events == 2_000
            assert sid in world.node.hub


async def test_redis_loses_its_data() -> None:
    """The node registers anew and stores its clients' records again."""
    broker = MemoryBroker()
    async with serving(Config(FAST), broker) as world, open_raw(world) as raw:
        sid = await raw.connect()
        await raw.send('421["join","red"]')
        assert await raw.receive() == "431[]"
        broker.lose_data()
        async with asyncio.timeout(5):
            while sid not in broker.clients or not broker.clients[sid].rooms:
                await asyncio.sleep(0.01)
        assert broker.clients[sid].accepted
        assert broker.clients[sid].rooms == {"red"}
        assert world.node.node_id in broker.io_nodes
        await raw.send('422["message-with-ack","still here"]')
        assert await raw.receive() == '432["still here"]'


async def test_a_node_that_was_declared_lost_lets_its_clients_go() -> None:
    broker = MemoryBroker()
    async with serving(Config(FAST), broker) as world, open_raw(world) as raw:
        await raw.connect()
        del broker.io_nodes[world.node.node_id]
        await raw.closed()
        async with asyncio.timeout(5):
            while world.node.node_id not in broker.io_nodes:
                await asyncio.sleep(0.01)
        async with open_raw(world) as again:
            await again.connect()
