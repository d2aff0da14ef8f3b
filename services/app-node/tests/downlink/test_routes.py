"""An io-node whose heartbeat is late still has its clients."""

import asyncio

import pytest

from app_node.counters import Counters
from app_node.downlink.routes import MAX_AGE_S, Routes
from sio_cluster.protocol.errors import NodesTooOld


class Registry:
    def __init__(self) -> None:
        self.registered = ["io1-aaaaaa", "io2-bbbbbb"]
        self.lowest_level = 3
        self.asked_for_level = 0

    async def registered_io_nodes(self) -> list[str]:
        return self.registered

    async def level(self) -> int:
        self.asked_for_level += 1
        return self.lowest_level


async def test_a_broadcast_goes_to_every_registered_node_until_it_is_unregistered() -> None:
    now = 0.0
    registry = Registry()
    routes = Routes(registry, lambda: now, Counters())
    assert set(await routes.all()) == {"io1-aaaaaa", "io2-bbbbbb"}
    registry.registered = ["io1-aaaaaa"]
    now += MAX_AGE_S
    assert set(await routes.all()) == {"io1-aaaaaa"}
    assert await routes.of("io2-bbbbbb.AAAAAAAAAAAAAAAA") is None


async def test_one_who_asks_later_is_not_answered_earlier() -> None:
    """The view may become fresh between those who wait for it and one who comes then."""
    now = 0.0
    routes = Routes(Registry(), lambda: now, Counters())
    answered: list[int] = []

    async def ask(number: int) -> None:
        await routes.all()
        answered.append(number)

    tasks = []
    for number in range(20):
        tasks.append(asyncio.create_task(ask(number)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert answered == list(range(20))


async def test_those_who_wait_share_one_read_however_long_it_takes() -> None:
    """A process that is so busy that a read takes MAX_AGE_S answered one caller with each read."""
    now, reads = 0.0, 0

    class Slow(Registry):
        async def registered_io_nodes(self) -> list[str]:
            nonlocal now, reads
            reads += 1
            await asyncio.sleep(0)
            now += 2 * MAX_AGE_S
            return self.registered

    routes = Routes(Slow(), lambda: now, Counters())
    await asyncio.gather(*[routes.all() for _ in range(20)])
    assert reads == 1
    await routes.all()
    assert reads == 2


async def test_what_an_old_node_does_not_understand_is_refused() -> None:
    now = 0.0
    registry = Registry()
    routes = Routes(registry, lambda: now, Counters())
    registry.lowest_level = 2
    with pytest.raises(NodesTooOld, match=r"an emit with exceptions needs nodes of level 3, and a node .* has 2"):
        await routes.require_level(3, "an emit with exceptions")
    registry.lowest_level = 3
    await routes.require_level(3, "an emit with exceptions")
    await routes.require_level(3, "an emit with exceptions")
    assert registry.asked_for_level == 2
    registry.lowest_level = 2
    now += MAX_AGE_S
    with pytest.raises(NodesTooOld):
        await routes.require_level(3, "an emit with exceptions")
