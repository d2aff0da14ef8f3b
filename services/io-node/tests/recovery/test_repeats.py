"""A batch that stands in a log twice, or came before the log begins, is carried out once, and missed once."""

import pytest

from sio_cluster.protocol.codec import encode_downlink
from sio_cluster.streams.api.appends import Append

from .cluster import Cluster, cluster, emit

NUMBERS = iter(range(1, 1_000))


async def say_again(world: Cluster, seq: int, name: str) -> None:
    """A batch of an app-node with this sequence number. Redis does not know that it came before."""
    entry = encode_downlink("app8-dddddd", seq, [emit(name)])
    homes = await world.bus.registry.registered_io_nodes()
    number = next(NUMBERS)
    await world.bus.appender.append(
        [Append(world.bus.keys.inbox(home), "app7-eeeeee", number, entry, 64_000_000) for home in homes]
    )


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_it_stands_in_the_log_twice(elsewhere: bool) -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        browser.drop()
        await world.away(browser)
        for seq, name in ((1, "one"), (2, "two"), (1, "one"), (2, "two"), (3, "three")):
            await say_again(world, seq, name)
        await world.settled()
        browser.open(other if elsewhere else home)
        await browser.joined()
        await browser.got("one", "two", "three")
        await say_again(world, 3, "three")  # now a part of it is in the log, and a part is read on
        await say_again(world, 4, "four")
        await browser.got("one", "two", "three", "four")
        assert browser.recovered


async def test_it_came_before_the_log_begins() -> None:
    """Redis lost the first one. Who is away gets what the others got: it was carried out once."""
    async with cluster(1) as world:
        [node] = world.nodes
        await say_again(world, 1, "one")
        await world.settled()
        world.broker.streams[world.bus.keys.inbox(node.id)].entries.clear()
        browser = await world.browser(node)
        browser.drop()
        await world.away(browser)
        await say_again(world, 1, "one")
        await say_again(world, 2, "two")
        await world.settled()
        browser.open(node)
        await browser.joined()
        await browser.got("two")
        assert node.io_node.bus_counters.batches_read_before == 1
