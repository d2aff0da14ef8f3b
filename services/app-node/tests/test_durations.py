"""Handlers' durations, by event. Clients choose the names of events, and each label makes eighteen series."""

from typing import Any

import pytest

from app_node import Namespace
from app_node.durations import OTHER


class Shop(Namespace):
    async def on_buy(self, sid: str) -> None:
        """Serves one event."""


class Found(Namespace):
    async def trigger_event(self, event: str, sid: str, *args: Any) -> None:
        """Serves all events."""


@pytest.mark.timeout(60)
async def test_names_that_clients_invent_have_one_label(memory_stage: Any) -> None:
    sio, io = memory_stage.echo_server(), await memory_stage.io_node()
    sio.on("*", lambda event, sid, *args: None)
    sio.register_namespace(Shop("/shop"))
    sio.register_namespace(Found("/found"))
    await sio.start()
    clients = {name: await io.connect(name) for name in ("/", "/shop", "/found")}
    await io.event(clients["/"], "echo", 1)
    await io.event(clients["/"], "*")
    await io.event(clients["/shop"], "buy")
    for number in range(20):
        for sid in clients.values():
            await io.event(sid, f"invented{number}")
    durations = sio.node.counters.durations.handlers
    await memory_stage.until(lambda: sum(histogram.total for histogram in durations.values()) >= 63)
    assert {name: histogram.total for name, histogram in durations.items()} == {
        "echo": 1,
        "buy": 1,
        OTHER: 61,
    }
