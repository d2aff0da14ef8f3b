"""App-nodes are told at once of questions that no client will answer."""

from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import AckExpected, AckMissed, AckReceived, AckRequest, Emit

from ..tiny_app import NODE
from .cluster import Browser, Cluster, cluster, until


async def ask(world: Cluster, browser: Browser, *ack_ids: int, hears_missed: bool = True) -> None:
    """Questions to this client, which go to its home alone."""
    for ack_id in ack_ids:
        request = AckRequest(NODE, ack_id, is_call=True, hears_missed=hears_missed)
        await world.app.send(browser.sid, Emit("/", b'2%d["q"]' % ack_id, to=[browser.sid], ack=request))


async def told(world: Cluster, *items: AckMissed | AckReceived | AckExpected) -> None:
    """This came into the inbox of who asked, in this order, and nothing else."""
    await until(lambda: len(world.app.inbox) >= len(items))
    assert world.app.inbox == list(items)


async def test_an_answer_that_came_before_the_end_of_the_connection_wins() -> None:
    async with cluster(1) as world:
        browser = await world.browser(world.nodes[0])
        await ask(world, browser, 5, 6, 7)
        await browser.got("q", "q", "q")
        assert browser.connection.session is not None
        browser.connection.session.on_message("36[1]")
        browser.drop()
        await told(world, AckReceived(browser.sid, 6, b"[1]"), AckMissed(browser.sid, 5), AckMissed(browser.sid, 7))
        assert world.nodes[0].counters.acks_missed == 2


async def test_without_recovery_too() -> None:
    async with cluster(1, RECOVERY_WINDOW_MS=0) as world:
        browser = await world.browser(world.nodes[0])
        await ask(world, browser, 5)
        await browser.got("q")
        browser.drop(reasons.PING_TIMEOUT)
        await ask(world, browser, 6)
        await told(world, AckMissed(browser.sid, 5), AckMissed(browser.sid, 6))


async def test_an_app_node_that_does_not_understand_it_is_not_told() -> None:
    async with cluster(1) as world:
        browser = await world.browser(world.nodes[0])
        await ask(world, browser, 5, hears_missed=False)
        await ask(world, browser, 6)
        await browser.got("q", "q")
        browser.drop()
        await told(world, AckMissed(browser.sid, 6))


async def test_each_question_is_spoken_for_once_wherever_the_client_was_last() -> None:
    async with cluster(3) as world:
        home, first, second = world.nodes
        browser = await world.browser(home)
        missed: list[AckMissed | AckReceived] = []
        for round_, node in enumerate((first, second, home, second)):
            browser.drop()
            await world.away(browser)
            await ask(world, browser, round_)
            missed.append(AckMissed(browser.sid, round_))
            await told(world, *missed)
            browser.open(node)
            await browser.joined()
            assert browser.recovered
            await ask(world, browser, 100 + round_)
            await until(lambda: len(browser.look().events) == round_ + 1)  # noqa: B023 - it is awaited here
            browser.connection.session.on_message(f"3{100 + round_}[1]")  # type: ignore[union-attr]
            missed.append(AckReceived(browser.sid, 100 + round_, b"[1]"))
            await told(world, *missed)


async def test_a_half_open_connection_owes_nothing_when_its_client_is_back() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        await ask(world, browser, 5)
        await browser.got("q")
        browser.open(other)
        await browser.joined()
        assert browser.recovered
        await told(world, AckMissed(browser.sid, 5))
        await ask(world, browser, 6)
        await browser.got("q", "q")
        browser.drop()
        await told(world, AckMissed(browser.sid, 5), AckMissed(browser.sid, 6))


async def test_of_a_killed_home_the_holder_speaks() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        await world.kill(home)
        browser.open(other)
        await browser.joined()
        browser.drop()
        await world.away(browser)
        await ask(world, browser, 5)
        await told(world, AckMissed(browser.sid, 5))


async def test_a_drained_node_tells_before_it_goes() -> None:
    async with cluster(2) as world:
        browser = await world.browser(world.nodes[0])
        await ask(world, browser, 5)
        await browser.got("q")
        await world.drain(world.nodes[0])
        await told(world, AckMissed(browser.sid, 5))
