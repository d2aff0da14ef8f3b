"""Who asks, and who is asked."""

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def stage(stage: Any) -> Any:
    """Leases are long: who gets no processor for 0.6 s would lose its lanes in the middle of a burial."""
    stage.config = stage.config.model_copy(update={"lease_ms": 8000, "node_timeout_ms": 9000})
    return stage


@pytest.fixture
async def world(stage: Any) -> Any:
    """An application that holds all lanes, a program that only emits, and two io-nodes with two clients each."""
    app, program = stage.echo_server(), stage.server()
    nodes = [await stage.io_node("io1"), await stage.io_node("io2")]
    for node in nodes:
        await node.bus.registry.register_io_node(node.id, {"level": "3"})
    await app.start()
    sids = [[await node.connect() for _ in range(2)] for node in nodes]
    return SimpleNamespace(app=app, program=program, one=nodes[0], two=nodes[1], sids=sids)


@pytest.fixture(params=["an app-node", "a program that only emits"])
def asker(world: Any, request: pytest.FixtureRequest) -> Any:
    return world.app if request.param == "an app-node" else world.program
