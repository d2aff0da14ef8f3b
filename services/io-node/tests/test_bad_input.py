"""What a client must not send ends its connection, and harms nobody else."""

from collections.abc import AsyncIterator

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import ClientDisconnected
from sio_cluster.streams.memory import MemoryBroker

from .by_hand import open_raw
from .tiny_app import FAST, World, kinds, serving

pytestmark = pytest.mark.slow


@pytest.fixture
async def memory_world() -> AsyncIterator[World]:
    async with serving(Config(FAST, CONNECT_TIMEOUT_MS=300, MAX_NAMESPACES=2), MemoryBroker()) as world:
        yield world


@pytest.mark.parametrize(
    "messages",
    [
        ["4abc"],
        ["4"],
        ["42{}"],
        ['42abc["message"]'],
        ['42["connect"]'],
        ['42["disconnect","x"]'],
        ['42["x",NaN]'],
        ['42["x",1e999]'],
        ['42["x",' + "[" * 20_000 + "]" * 20_000 + "]"],
        ['42/other,["x"]'],
        ["40"],
        ["44{}"],
        ["43[]"],
        ['451000000-["x"]'],
        ['451-["x",{"_placeholder":true,"num":-1}]'],
        ['451-["x"]', '42["text in its place"]'],
        [b"surplus"],
    ],
    ids=lambda messages: repr(messages)[:60],
)
async def test_bad_input_closes_its_sender_and_nobody_else(memory_world: World, messages: list[str | bytes]) -> None:
    async with open_raw(memory_world) as bystander, open_raw(memory_world) as attacker:
        await bystander.connect()
        sid = await attacker.connect()
        await attacker.send(*messages)
        await attacker.closed()
        await memory_world.app.wait_for(lambda facts: kinds(facts, ClientDisconnected) != [])
        assert kinds(memory_world.app.facts, ClientDisconnected) == [ClientDisconnected(sid, reasons.PARSE_ERROR)]
        await bystander.send('421["message-with-ack","fine"]')
        assert await bystander.receive() == '431["fine"]'


@pytest.mark.parametrize("message", ['42["x"]', "41", "431[]", "4"])
async def test_anything_before_connect_closes(memory_world: World, message: str) -> None:
    async with open_raw(memory_world) as raw:
        await raw.send(message)
        await raw.closed()


async def test_no_connect_in_time(memory_world: World) -> None:
    async with open_raw(memory_world) as raw:
        await raw.closed()


async def test_thousands_of_namespaces(memory_world: World) -> None:
    async with open_raw(memory_world) as raw:
        await raw.connect()
        await raw.connect("/custom")
        for number in range(2_000):
            await raw.send(f"40/{number},")
        for number in range(2_000):
            assert await raw.receive() == f'44/{number},{{"message":"Too many namespaces"}}'
        assert len(memory_world.node.hub) == 2
