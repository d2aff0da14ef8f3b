"""A client comes back: it gets what it missed, and only that."""

import pytest

from sio_cluster.protocol.messages import Accept, AckRequest, CloseRoom, Emit, Join, Leave
from sio_cluster.streams.api.records import Accepted

from .cluster import PYTHON, Browser, cluster, emit, until


async def test_to_the_same_node() -> None:
    async with cluster(1) as world:
        [node] = world.nodes
        browser = await world.browser(node)
        sid = browser.sid
        await world.say(emit("one", [sid]))
        await browser.got("one")
        browser.drop()
        await world.away(browser)
        await world.say(emit("two", [sid]), emit("three"))
        browser.open(node)
        await browser.joined()
        await world.say(emit("four"))
        await browser.got("one", "two", "three", "four")
        assert (browser.recovered, browser.sid) == (True, sid)
        assert world.facts(sid) == [("connect", 0), ("disconnect", 0), ("connect", 1)]
        assert node.counters.recovered == 1
        assert node.counters.replayed == 2


async def test_to_another_node() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        browser.drop()
        await world.say(emit("one"))
        browser.open(other)
        await browser.joined()
        await world.say(emit("two", [browser.sid]))
        await browser.got("one", "two")
        assert browser.recovered
        assert browser.sid.startswith(home.id)
        assert world.connected.holder == other.id


async def test_from_a_killed_home() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        await world.say(emit("one"))
        await browser.got("one")
        await world.kill(home)
        await world.say(emit("two"))
        browser.open(other)
        await browser.joined()
        await world.say(emit("three"))
        await browser.got("one", "two", "three")
        assert browser.recovered
        assert other.io_node._recovery.homes.adopted == 1


async def test_dropped_five_times() -> None:
    """Without an event at all, then with some that were missed, then without new ones."""
    async with cluster(3) as world:
        browser = await world.browser(world.nodes[0])
        for round_ in range(5):
            browser.drop()
            if round_ in (1, 2):
                await world.say(emit(f"n{round_}"))
            browser.open(world.nodes[round_ % 3])
            await browser.joined()
            assert browser.recovered
        await world.say(emit("end"))
        await browser.got("n1", "n2", "end")
        await world.app.wait_for(lambda _: len(world.facts(browser.sid)) == 11)
        assert world.facts(browser.sid) == [fact for n in range(5) for fact in (("connect", n), ("disconnect", n))] + [
            ("connect", 5)
        ]


async def test_rooms_while_away() -> None:
    async with cluster(2) as world:
        browser = await world.browser(world.nodes[0])
        sid = browser.sid
        await world.say(Join(sid, "red"), Join(sid, "blue"), emit("in", ["red"]))
        await browser.got("in")
        browser.drop()
        await world.say(
            emit("red1", ["red"]),
            Leave(sid, "red"),
            emit("red2", ["red"]),
            emit("green1", ["green"]),
            Join(sid, "green"),
            emit("green2", ["green"]),
            emit("both", ["green", "blue"]),
            CloseRoom("/", "blue"),
            emit("blue2", ["blue"]),
            emit("skipped", ["green"], skip=[sid]),
            emit("asked", ["green"], ack=AckRequest("app1-bbbbbb", 5)),
            emit("volatile", ["green"], volatile=True),
            Emit("/other", b'2/other,["other"]'),
        )
        browser.open(world.nodes[1])
        await browser.joined()
        await world.say(emit("green3", ["green"]), emit("blue3", ["blue"]), emit("red3", ["red"]))
        await browser.got("in", "red1", "green2", "both", "green3")


async def test_binary() -> None:
    async with cluster(2) as world:
        browser = await world.browser(world.nodes[0])
        browser.drop()
        packet = b'51-["picture",{"_placeholder":true,"num":0}]'
        await world.say(Emit("/", packet, [b"\x01\x02"]))
        browser.open(world.nodes[1])
        await browser.joined()
        await browser.got("picture")
        assert browser.attachments == [b"\x01\x02"]
        assert browser.raw[-2].startswith(packet[:-1] + b',"')


async def test_what_its_handler_says_while_it_connects() -> None:
    async with cluster(2) as world:
        world.app.on_connect = lambda fact: [Join(fact.sid, "red"), emit(f"hello{fact.generation}", ["red"])]
        browser = await world.browser(world.nodes[0])
        browser.drop()
        browser.open(world.nodes[1])
        await browser.joined()
        await browser.got("hello0", "hello1")


async def test_a_room_with_clients_of_all_kinds() -> None:
    """One that knows offsets and one that does not: each gets the arguments that it expects."""
    async with cluster(1) as world:
        browser = await world.browser(world.nodes[0])
        plain = await world.browser(world.nodes[0], handshake=PYTHON)
        assert plain.pid is None
        await world.say(emit("one"))
        await browser.got("one")
        await plain.got("one")
        assert plain.raw[-1] == b'2["one"]'
        assert browser.raw[-1].startswith(b'2["one","')


@pytest.mark.parametrize("got", [0, 1, 2])
@pytest.mark.parametrize("times", [1, 2])
async def test_what_was_said_to_all_while_it_waited(got: int, times: int) -> None:
    """It was held back and written behind CONNECT. The link broke in that write: it has some of it, or nothing."""
    async with cluster(2) as world:
        home, other = world.nodes
        await world.say(emit("before"))
        await world.settled()
        world.app.accepting = False
        browser = Browser()
        browser.open(home)
        await world.app.wait_for(lambda facts: len(facts) == 1)
        sid = world.connected.sid
        await world.say(emit("one"), emit("two"))
        await world.settled()
        await world.bus.records.update([Accepted(sid)])
        await world.app.send(sid, Accept(sid))
        world.app.accepting = True
        await until(lambda: len(browser.connection.sent) == 3)
        for time in range(times):
            del browser.connection.sent[1 + (0 if time else got) :]
            browser.drop()
            await world.away(browser)
            browser.open(other)
            await until(lambda: len(browser.connection.sent) == 3 - got)
        await browser.joined()
        assert browser.recovered
        await browser.got("one", "two")
