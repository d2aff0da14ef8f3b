"""Whom a question to many reaches, over several io-nodes and homes: each client is named by one of them."""

from sio_cluster.protocol.messages import AckExpected, AckMissed, AckReceived, AckRequest, Emit

from ..tiny_app import NODE
from .cluster import Cluster, cluster, until


async def ask(world: Cluster, ack_id: int) -> None:
    """A question to everybody, which goes to all homes."""
    request = AckRequest(NODE, ack_id, is_call=True, hears_missed=True, names_asked=True)
    await world.say(Emit("/", b'2%d["q"]' % ack_id, ack=request))


async def told(world: Cluster, *items: AckMissed | AckReceived | AckExpected) -> None:
    """This came into the inbox of who asked, in any order, and nothing else."""
    await until(lambda: len(world.app.inbox) >= len(items))
    assert sorted(map(repr, world.app.inbox)) == sorted(map(repr, items))
    world.app.inbox.clear()


async def test_a_client_is_named_by_whoever_holds_it_now() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        moved, stays = await world.browser(home), await world.browser(home)
        await ask(world, 1)
        await told(world, AckExpected(home.id, 1, [moved.sid, stays.sid]), AckExpected(other.id, 1, []))
        moved.drop()
        await world.away(moved)
        await ask(world, 2)
        await told(
            world,
            AckMissed(moved.sid, 1),
            AckExpected(home.id, 2, [stays.sid], away=[moved.sid]),
            AckExpected(other.id, 2, []),
        )
        moved.open(other)
        await moved.joined()
        assert moved.recovered
        await world.settled()
        await ask(world, 3)
        await until(lambda: len(moved.look().events) == 2)
        assert moved.connection.session is not None
        moved.connection.session.on_message("33[1]")
        await told(
            world,
            AckExpected(home.id, 3, [stays.sid], elsewhere=[moved.sid]),
            AckExpected(home.id, 3, [moved.sid]),
            AckExpected(other.id, 3, []),
            AckReceived(moved.sid, 3, b"[1]"),
        )


async def test_of_a_killed_home_the_holder_names_its_clients() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        await world.kill(home)
        browser.open(other)
        await browser.joined()
        await ask(world, 1)
        await told(world, AckExpected(home.id, 1, [browser.sid]), AckExpected(other.id, 1, []))
        browser.drop()
        await world.away(browser)
        await ask(world, 2)
        await told(
            world,
            AckMissed(browser.sid, 1),
            AckExpected(home.id, 2, [], away=[browser.sid]),
            AckExpected(other.id, 2, []),
        )
        assert other.counters.asked_many == 4


async def test_without_recovery_too() -> None:
    async with cluster(2, RECOVERY_WINDOW_MS=0) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        await ask(world, 1)
        await browser.got("q")
        browser.drop()
        await world.gone(browser)
        await ask(world, 2)
        await told(
            world,
            AckExpected(home.id, 1, [browser.sid]),
            AckExpected(other.id, 1, []),
            AckMissed(browser.sid, 1),
            AckExpected(home.id, 2, []),
            AckExpected(other.id, 2, []),
        )


async def test_one_that_is_drained_is_told_of() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        await ask(world, 1)
        await browser.got("q")
        await world.drain(home)
        await told(
            world,
            AckExpected(home.id, 1, [browser.sid]),
            AckExpected(other.id, 1, []),
            AckMissed(browser.sid, 1),
        )
