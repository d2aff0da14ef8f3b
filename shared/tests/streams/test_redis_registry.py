"""How often the registry waits for Redis. An idle cluster does little else."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.connection import RedisCommand

from .real_server import IO1

APP1, APP2 = "app1-aaaaaa", "app2-aaaaaa"


@pytest.fixture
def trips(bus: RedisBus, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each round trip the number of its commands."""
    found: list[int] = []
    run = bus.connections.run

    async def counted(*commands: RedisCommand) -> Sequence[Any]:
        found.append(len(commands))
        return await run(*commands)

    monkeypatch.setattr(bus.connections, "run", counted)
    return found


async def test_where_nobody_is_new_a_look_is_one_round_trip(bus: RedisBus, trips: list[int]) -> None:
    registry = bus.registry
    await registry.join_cluster()
    await registry.register_io_node(IO1, {"level": "99"})
    await registry.register_app_node(APP1, {"level": "99"})
    looks: list[Callable[[], Awaitable[object]]] = [
        registry.look,
        registry.io_nodes,
        registry.app_nodes,
        registry.lost_io_nodes,
        registry.lost_app_nodes,
    ]
    for look in looks:
        await look()
    for look in looks:
        trips.clear()
        await look()
        assert len(trips) == 1
    await registry.heartbeat(APP2, 60_000)
    await registry.register_app_node(APP2, {})
    trips.clear()
    assert set(await registry.app_nodes()) == {APP2}
    assert trips == [2, 3]


async def test_it_does_not_ask_for_those_who_have_gone(bus: RedisBus, trips: list[int]) -> None:
    await bus.registry.register_app_node(APP1, {})
    await bus.registry.app_nodes()
    await bus.registry.unregister_app_node(APP1)
    await bus.registry.app_nodes()
    trips.clear()
    assert await bus.registry.app_nodes() == {}
    assert trips == [1]


async def test_who_comes_while_it_looks_is_asked_for(bus: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that it asks once more, another node has come."""
    registry, run, coming = bus.registry, bus.connections.run, [APP2, APP1]
    await registry.heartbeat(APP1, 60_000)
    await registry.heartbeat(APP2, 60_000)

    async def busy(*commands: RedisCommand) -> Sequence[Any]:
        if commands[0][0] == "HGETALL" and coming:
            await registry.register_app_node(coming.pop(), {})
        return await run(*commands)

    monkeypatch.setattr(bus.connections, "run", busy)
    assert set(await registry.app_nodes()) == {APP1, APP2}
