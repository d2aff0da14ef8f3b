"""The room index after nodes that do not keep it."""

from typing import Any

from app_node.counters import Counters
from app_node.membership.room_index import IndexKeeper
from sio_cluster.protocol.messages import LEVEL
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of


def keeper_of(bus: MemoryBus, *, in_charge: bool) -> IndexKeeper:
    return IndexKeeper(
        heartbeat_ms=100,
        registry=bus.registry,
        room_index=bus.room_index,
        is_in_charge=lambda: in_charge,
        counters=Counters(),
    )


async def test_it_is_built_anew_by_the_one_in_charge_when_the_last_old_node_has_gone() -> None:
    bus: Any = MemoryBus(config_of(), MemoryBroker())
    await bus.start()
    one, other = keeper_of(bus, in_charge=True), keeper_of(bus, in_charge=False)
    await one.look()
    assert await bus.room_index.is_exact()
    await bus.registry.register_app_node("app-bbbbbb", {"level": "2"})
    await other.look()
    assert not await bus.room_index.is_exact()
    await one.look()
    assert not await bus.room_index.is_exact()
    await bus.registry.register_app_node("app-bbbbbb", {"level": str(LEVEL)})
    await other.look()
    assert not await bus.room_index.is_exact()
    await one.look()
    assert await bus.room_index.is_exact()
