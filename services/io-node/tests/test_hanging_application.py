"""An application beside an io-node that never starts, or never shuts down."""

import asyncio
from typing import Any

import pytest

from io_node.app import IoNode
from io_node.listener import Listener
from sio_cluster.node.settings.config import Config
from sio_cluster.streams.memory import MemoryBroker

from .test_serving import FAST
from .tiny_app import memory_bus

pytestmark = pytest.mark.slow


def hanging_app(begun: asyncio.Event, *, at: str) -> Any:
    """One that never comes through its start-up or its shutdown."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == f"lifespan.{at}":
                begun.set()
                await asyncio.Event().wait()
            await send({"type": f"{message['type']}.complete"})

    return app


async def test_an_application_that_hangs_in_its_start_up_does_not_keep_the_node() -> None:
    begun = asyncio.Event()
    node = IoNode(Config(FAST), bus=memory_bus(MemoryBroker()))
    listener = Listener(hanging_app(begun, at="startup"), node.config, node)
    serving_it = asyncio.create_task(listener.serve())
    async with asyncio.timeout(10):
        await begun.wait()
        listener._on_signal()
        await serving_it


async def test_an_application_that_hangs_in_its_shutdown_is_cut_off_by_another_signal() -> None:
    begun = asyncio.Event()
    node = IoNode(Config(FAST), bus=memory_bus(MemoryBroker()))
    listener = Listener(hanging_app(begun, at="shutdown"), node.config, node)
    async with asyncio.timeout(10):
        await listener.__aenter__()
        listener._on_signal()
        await begun.wait()
        listener._on_signal()
        await listener.stop()
