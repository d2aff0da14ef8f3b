"""Questions to clients of io-nodes that die, have left, or say nothing."""

import asyncio
from typing import Any

from sio_cluster.protocol.messages import AckExpected, AckReceived
from sio_cluster.streams.api.records import Ended

from .questions import LONG_S, asked, dies, say


async def test_an_io_node_that_dies_when_it_has_asked(world: Any, asker: Any) -> None:
    (ann, bob), (eve, joe) = world.sids
    asking = asyncio.create_task(asker.call_many("vote", timeout=LONG_S))
    ack = await asked(world.one, world.two)
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [ann, bob]), AckReceived(ann, ack.ack_id, b"[1]"))
    await say(world.two, ack, AckExpected(world.two.id, ack.ack_id, [eve, joe]))
    await say(world.two, ack, *[AckReceived(sid, ack.ack_id, b"[1]") for sid in (eve, joe)])
    await dies(world.one)
    answers = await asyncio.wait_for(asking, 8)
    assert set(answers) == {ann, eve, joe}
    assert answers.missing == {bob: "node lost"}


async def test_an_io_node_that_dies_before_it_has_asked(world: Any, asker: Any) -> None:
    """Its clients are known from their records."""
    (ann, _), (eve, _) = world.sids
    world.one._reader.cancel()
    await world.app.enter_room(ann, "red")
    await world.app.enter_room(eve, "red")
    asking = asyncio.create_task(asker.call_many("vote", room="red", timeout=LONG_S))
    ack = await asked(world.two)
    await say(world.two, ack, AckExpected(world.two.id, ack.ack_id, [eve]), AckReceived(eve, ack.ack_id, b"[1]"))
    await dies(world.one)
    answers = await asyncio.wait_for(asking, 8)
    assert (dict(answers), answers.missing) == ({eve: 1}, {ann: "node lost"})


async def test_an_io_node_that_lives_and_says_nothing(world: Any) -> None:
    (_, bob), _ = world.sids
    world.one._reader.cancel()
    answers = await world.app.call_many("vote", room=[bob], timeout=0.3)
    assert answers.missing == {bob: "timeout"}


async def test_clients_of_a_dead_io_node_that_are_buried_before_it_counts_as_dead(world: Any) -> None:
    """Their records are gone by then."""
    (ann, _), (eve, _) = world.sids
    world.one._reader.cancel()
    await world.app.enter_room(ann, "red")
    await world.app.enter_room(eve, "red")
    asking = asyncio.create_task(world.app.call_many("vote", room="red", timeout=LONG_S))
    ack = await asked(world.two)
    await say(world.two, ack, AckExpected(world.two.id, ack.ack_id, [eve]), AckReceived(eve, ack.ack_id, b"[1]"))
    await dies(world.one)
    [question] = world.app.node.clients.questions._open.values()
    while not question.early.get(world.one.id):
        await asyncio.sleep(0.005)
    await world.two.bus.records.forget([Ended(ann)])
    answers = await asyncio.wait_for(asking, 8)
    assert (dict(answers), answers.missing) == ({eve: 1}, {ann: "node lost"})


async def test_an_io_node_that_left_a_moment_ago(world: Any) -> None:
    """It is still asked, as far as the list goes, and says nothing."""
    (ann, _), _ = world.sids
    await world.program.emit("the list is read")
    await world.two.bus.registry.unregister_io_node(world.two.id)
    asking = asyncio.create_task(world.program.call_many("vote", timeout=LONG_S))
    ack = await asked(world.one, number=2)
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [ann]), AckReceived(ann, ack.ack_id, b"[1]"))
    assert dict(await asyncio.wait_for(asking, 5)) == {ann: 1}
