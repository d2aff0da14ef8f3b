"""Questions to many clients: each of them is named, with its answer or with the reason why there is none."""

import asyncio
import math
from contextlib import aclosing
from typing import Any

import pytest
import socketio

from app_node import AnswersMissing
from app_node.clients.records_of_home import RecordsOfHome, To
from sio_cluster.protocol.errors import NodesTooOld, TooManyAnswers, TooManyCalls
from sio_cluster.protocol.messages import AckExpected, AckMissed, AckReceived, Emit
from sio_cluster.streams.api.selections import Candidates, Cursor, Selection

from .questions import LONG_S, asked, dies, say


async def test_each_is_named(world: Any, asker: Any) -> None:
    (ann, bob), (eve, joe) = world.sids
    asking = asyncio.create_task(asker.call_many("vote", "now", timeout=LONG_S))
    ack = await asked(world.one, world.two)
    await say(
        world.one,
        ack,
        AckExpected(world.one.id, ack.ack_id, [ann, bob]),
        AckReceived(ann, ack.ack_id, b'["yes"]'),
        AckMissed(bob, ack.ack_id),
    )
    await say(
        world.two,
        ack,
        AckExpected(world.two.id, ack.ack_id, [eve, joe]),
        AckReceived(eve, ack.ack_id, b"[1,2]"),
        AckReceived(joe, ack.ack_id, b"[]"),
    )
    answers = await asyncio.wait_for(asking, 5)
    assert dict(answers) == {ann: "yes", eve: (1, 2), joe: None}
    assert answers.missing == {bob: "disconnected"}
    with pytest.raises(socketio.exceptions.TimeoutError) as caught:
        answers.check()
    assert isinstance(caught.value, AnswersMissing)
    assert caught.value.answers is answers
    assert len(asker.node.clients.questions) == 0
    assert asker.node.counters.acks_received == 3
    assert asker.node.clients.questions.waiting.bytes == 0


async def test_a_binary_answer(world: Any) -> None:
    (ann, _), _ = world.sids
    asking = asyncio.create_task(world.app.call_many("vote", b"x", room=ann, timeout=LONG_S))
    ack = await asked(world.one)
    answer = AckReceived(ann, ack.ack_id, b'[{"_placeholder":true,"num":0}]', [b"yes"])
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [ann]), answer)
    answers = await asyncio.wait_for(asking, 5)
    assert answers.check() is answers
    assert dict(answers) == {ann: b"yes"}


async def test_an_answer_that_cannot_be_decoded(world: Any) -> None:
    (ann, _), _ = world.sids
    asking = asyncio.create_task(world.app.call_many("vote", room=ann, timeout=LONG_S))
    ack = await asked(world.one)
    answer = AckReceived(ann, ack.ack_id, b'[{"_placeholder":true,"num":7}]', [b"yes"])
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [ann]), answer)
    answers = await asyncio.wait_for(asking, 5)
    assert (dict(answers), answers.missing) == ({}, {ann: "malformed"})


async def test_only_the_silent_wait_for_the_time_out(world: Any) -> None:
    (ann, bob), _ = world.sids
    asking = asyncio.create_task(world.app.call_many("vote", room=[ann, bob], timeout=0.3))
    ack = await asked(world.one)
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [ann, bob]), AckReceived(ann, ack.ack_id, b"[1]"))
    answers = await asyncio.wait_for(asking, 5)
    assert (dict(answers), answers.missing) == ({ann: 1}, {bob: "timeout"})
    with pytest.raises(AnswersMissing) as caught:
        answers.check()
    assert dict(caught.value.answers) == {ann: 1}
    await say(world.one, ack, AckReceived(bob, ack.ack_id, b"[1]"))
    await world.one.settle()
    counters = world.app.node.counters
    async with asyncio.timeout(5):
        while not counters.acks_refused["unknown"]:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("nobody", [[], ()])
async def test_nobody(world: Any, nobody: Any) -> None:
    answers = await world.app.call_many("vote", room=nobody, timeout=LONG_S)
    assert (dict(answers), answers.missing) == ({}, {})


@pytest.mark.parametrize("timeout", [None, "5", -1, math.nan])
async def test_with_an_odd_timeout_nobody_is_asked(world: Any, timeout: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        await world.app.call_many("vote", timeout=timeout)
    with pytest.raises((TypeError, ValueError)):
        await anext(world.app.answers("vote", timeout=timeout))
    await world.app.emit("after")
    [emit] = await world.one.wait(1, Emit)
    assert b"after" in emit.packet


async def test_a_sid_that_is_not_there_is_named_all_the_same(world: Any) -> None:
    gone, dead = world.one.connected().sid, world.one.connected(sid="io9-zzzzzz.AAAAAAAAAAAAAAAA").sid
    asking = asyncio.create_task(world.app.call_many("vote", room=[gone, dead], timeout=LONG_S))
    ack = await asked(world.one)
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, []))
    answers = await asyncio.wait_for(asking, 5)
    assert answers.missing == {gone: "disconnected", dead: "disconnected"}
    answers = await asyncio.wait_for(world.app.call_many("vote", room=dead, skip_sid=gone, timeout=LONG_S), 5)
    assert answers.missing == {dead: "disconnected"}


async def test_who_is_in_a_room_that_is_excepted_is_not_asked(world: Any, asker: Any) -> None:
    """Nor is it missing, although it was named, and although its io-node says nothing of it."""
    (ann, bob), (eve, joe) = world.sids
    for sid in (bob, joe):
        await world.app.enter_room(sid, "blue")
    asking = asyncio.create_task(asker.call_many("vote", timeout=LONG_S, except_room=["blue", eve], room=None))
    ack = await asked(world.one, world.two)
    for node in (world.one, world.two):
        [emit] = await node.wait(1, Emit)
        assert (emit.except_rooms, emit.skip) == (["blue"], [eve])
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [ann]), AckReceived(ann, ack.ack_id, b"[1]"))
    await dies(world.two)
    answers = await asyncio.wait_for(asking, 8)
    assert (dict(answers), answers.missing) == ({ann: 1}, {})
    gone = world.one.connected().sid
    stream = asker.answers("vote", room=[ann, bob, gone], except_room="blue", timeout=LONG_S)
    first = asyncio.ensure_future(anext(stream))
    ack = await asked(world.one, number=2)
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [ann]), AckReceived(ann, ack.ack_id, b"[1]"))
    async with asyncio.timeout(5):
        assert [await first] + [pair async for pair in stream] == [(ann, 1)]
    assert stream.missing == {gone: "disconnected"}


async def test_answers_as_they_come(world: Any) -> None:
    (ann, bob), _ = world.sids
    stream = world.app.answers("vote", room=[ann, bob], timeout=LONG_S)
    came = []
    first = asyncio.ensure_future(anext(stream))
    ack = await asked(world.one)
    await say(world.one, ack, AckReceived(ann, ack.ack_id, b"[1]"))
    assert await asyncio.wait_for(first, 5) == (ann, 1)
    assert world.app.node.clients.questions.waiting.bytes == 0
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [ann, bob]), AckMissed(bob, ack.ack_id))
    async with asyncio.timeout(5):
        async for pair in stream:
            came.append(pair)
    assert came == []
    assert stream.missing == {bob: "disconnected"}


async def test_who_stops_listening_leaves_nothing_behind(world: Any) -> None:
    (ann, bob), _ = world.sids
    async with aclosing(world.app.answers("vote", room=[ann, bob], timeout=LONG_S)) as stream:
        first = asyncio.ensure_future(anext(stream))
        ack = await asked(world.one)
        await say(world.one, ack, *[AckReceived(sid, ack.ack_id, b"[1]") for sid in (ann, bob)])
        await first
    questions = world.app.node.clients.questions
    assert (len(questions), questions.waiting.bytes) == (0, 0)
    asking = asyncio.create_task(world.app.call_many("vote", room=[ann, bob], timeout=LONG_S))
    await asked(world.one, number=2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(questions) == 0
    assert len(world.app.node.clients.callbacks) == 0


class _Reads:
    """Which records an app-node reads."""

    def __init__(self, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sids: list[str] = []
        self._load = node.clients.records.load
        monkeypatch.setattr(node.clients.records, "load", self.load)

    async def load(self, sid: str) -> Any:
        self.sids.append(sid)
        return await self._load(sid)


async def test_only_those_who_may_be_in_the_room_are_read(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (ann, bob), (eve, _) = world.sids
    await world.app.enter_room(ann, "red")
    await world.app.enter_room(eve, "red")
    reads = _Reads(world.program.node, monkeypatch)
    assert (await world.program.call_many("vote", room="red", timeout=0.1)).missing == {ann: "timeout", eve: "timeout"}
    assert sorted(reads.sids) == sorted([ann, eve])
    reads.sids.clear()
    assert len((await world.program.call_many("vote", room=["red", bob], timeout=0.1)).missing) == 3
    assert sorted(reads.sids) == sorted([ann, eve, bob])
    reads.sids.clear()
    assert len((await world.program.call_many("vote", timeout=0.1)).missing) == 4
    assert len(reads.sids) == 4


async def test_a_room_with_more_members_than_the_home_has_clients_is_not_looked_through(world: Any) -> None:
    """Nor where the room index is not exact."""
    (ann, bob), _ = world.sids
    await world.app.enter_room(ann, "red")
    clients = world.program.node.clients
    await world.program.node.open()
    to, pages = To("/", ["red"], []), 0

    class Endless:
        async def candidates(self, selection: Selection, cursor: Cursor | None = None) -> Candidates:
            nonlocal pages
            pages += 1
            return Candidates([f"io9-aaaaaa.{pages:016}"] * 2, Cursor())

    class Index:
        exact = True

        async def is_exact(self) -> bool:
            return self.exact

    selections: Any = Endless()
    index: Any = Index()
    of_home = RecordsOfHome(clients.records, selections, index, world.program.node.counters)
    assert {record.connected.sid async for record in of_home.asked(world.one.id, to)} == {ann}
    assert pages == 2
    index.exact = False
    assert {record.connected.sid async for record in of_home.asked(world.one.id, to)} == {ann}
    assert pages == 2
    assert set(await clients.records.clients_of_home(world.one.id)) == {ann, bob}


async def test_one_of_whom_nobody_says_that_it_was_asked(world: Any) -> None:
    (ann, bob), _ = world.sids
    asking = asyncio.create_task(world.app.call_many("vote", room=[ann, bob], timeout=LONG_S))
    ack = await asked(world.one)
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [bob], elsewhere=[ann]))
    await say(world.one, ack, AckReceived(bob, ack.ack_id, b"[1]"))
    answers = await asyncio.wait_for(asking, 8)
    assert (dict(answers), answers.missing) == ({bob: 1}, {ann: "disconnected"})


async def test_answers_that_weigh_too_much(stage: Any, world: Any) -> None:
    (ann, bob), _ = world.sids
    questions = world.app.node.clients.questions
    questions.waiting.max_bytes = 1000
    asking = asyncio.create_task(world.app.call_many("vote", room=[ann, bob], timeout=LONG_S))
    ack = await asked(world.one)
    await say(world.one, ack, AckReceived(ann, ack.ack_id, b'["%b"]' % (b"x" * 2000)))
    await say(world.one, ack, AckReceived(bob, ack.ack_id, b"[1]"))
    with pytest.raises(TooManyAnswers):
        await asyncio.wait_for(asking, 5)
    assert (len(questions), questions.waiting.bytes) == (0, 0)
    assert world.app.node.counters.answers_too_large == 1
    stream = world.app.answers("vote", room=[ann, bob], timeout=LONG_S)  # which keeps nothing
    for number, sid in enumerate((ann, bob)):
        pair = asyncio.ensure_future(anext(stream))
        ack = await asked(world.one, number=2)
        await say(world.one, ack, AckReceived(sid, ack.ack_id, b'["%b"]' % (b"x" * 2000)))
        assert (await asyncio.wait_for(pair, 5))[0] == sid, number
    await stream.aclose()


async def test_too_many_questions(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app_node.clients.questions.MAX_QUESTIONS", 1)
    (ann, _), _ = world.sids
    asking = asyncio.create_task(world.app.call_many("vote", room=ann, timeout=LONG_S))
    ack = await asked(world.one)
    with pytest.raises(TooManyCalls):
        await world.app.call_many("vote", room=ann, timeout=LONG_S)
    await say(world.one, ack, AckReceived(ann, ack.ack_id, b"[1]"), AckExpected(world.one.id, ack.ack_id, [ann]))
    assert dict(await asyncio.wait_for(asking, 5)) == {ann: 1}


async def test_an_older_node_is_not_asked(world: Any, stage: Any) -> None:
    await world.one.bus.registry.register_io_node(world.one.id, {"level": "2"})
    with pytest.raises(NodesTooOld):
        await world.program.call_many("vote", timeout=LONG_S)
    assert not [command for command in world.one.commands if isinstance(command, Emit)]


async def test_where_it_cannot_be_asked(stage: Any) -> None:
    with pytest.raises(RuntimeError, match="async_handlers"):
        await stage.server(async_handlers=False).call_many("vote")
    sio = stage.server()
    with pytest.raises(TypeError):
        await sio.call_many("vote", object())


async def test_in_a_handler(world: Any) -> None:
    (ann, bob), _ = world.sids
    got: list[Any] = []

    @world.app.event
    async def poll(sid: str) -> None:
        got.append(dict(await world.app.call_many("vote", room=bob, timeout=LONG_S)))

    await world.one.event(ann, "poll")
    ack = await asked(world.one)
    await say(world.one, ack, AckExpected(world.one.id, ack.ack_id, [bob]), AckReceived(bob, ack.ack_id, b"[1]"))
    await world.one.settle()
    assert got == [{bob: 1}]
