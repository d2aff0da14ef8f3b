"""What app-nodes say to each other."""

import asyncio
import json
import sys
from typing import Any

import pytest
import socketio

from app_node.blocking import handler_in
from sio_cluster.protocol.errors import NodesTooOld, TooManyAnswers, TooManyCalls
from sio_cluster.protocol.messages import SERVER_LEVEL, ServerEvent

LONG_S = 30
"""A time-out that no test waits for."""


class Timeout(BaseException):
    """As gevent.Timeout."""


class Cluster:
    """Three app-nodes that serve clients, and a program that only emits. `heard`: what `note` got, by app-node."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage
        self.heard: dict[str, list[Any]] = {}
        self.servers = [self._server() for _ in range(3)]
        self.program = stage.server()
        self.program.on_server("note", self._never)

    def _server(self) -> Any:
        sio = self.stage.echo_server()

        @sio.on_server("note")
        async def note(sender: str, *args: Any) -> None:
            self.heard.setdefault(sio.node.id, []).append((sender, *args))

        @sio.on_server("name")
        def name(sender: str, *args: Any) -> Any:
            return (sio.node.id, sender, *args)

        return sio

    def _never(self, *args: Any) -> None:
        raise AssertionError("a program that only emits gets nothing")

    @property
    def ids(self) -> list[str]:
        return [sio.node.id for sio in self.servers]

    async def until_heard(self, *nodes: str, number: int = 1) -> None:
        await self.stage.until(lambda: all(len(self.heard.get(node, ())) >= number for node in nodes))


@pytest.fixture
def stage(stage: Any) -> Any:
    stage.config = stage.config.model_copy(update={"lease_ms": 3000, "node_timeout_ms": 3000})
    return stage


@pytest.fixture
async def cluster(stage: Any) -> Any:
    cluster = Cluster(stage)
    for sio in cluster.servers:
        await sio.start()
    return cluster


async def test_every_other_one_hears_it(cluster: Any) -> None:
    first, second, third = cluster.ids
    await cluster.servers[0].emit_server("note", 1, {"a": b"x"})
    await cluster.until_heard(second, third)
    assert cluster.heard == {node: [(first, 1, {"a": b"x"})] for node in (second, third)}
    cluster.heard.clear()
    await cluster.servers[0].emit_server("note", include_self=True)
    await cluster.until_heard(first, second, third)
    assert cluster.heard == {node: [(first,)] for node in (first, second, third)}


async def test_events_of_one_sender_keep_their_order(cluster: Any) -> None:
    first, second, third = cluster.ids
    await asyncio.gather(*[cluster.servers[0].emit_server("note", number) for number in range(300)])
    await cluster.until_heard(second, third, number=300)
    assert cluster.heard == {node: [(first, number) for number in range(300)] for node in (second, third)}


async def test_answers_come_by_the_ids_of_app_nodes(cluster: Any) -> None:
    first, second, third = cluster.ids
    answers = await cluster.servers[0].call_server("name", 5, timeout=LONG_S)
    assert dict(answers.check()) == {second: (second, first, 5), third: (third, first, 5)}
    answers = await cluster.servers[0].call_server("name", timeout=LONG_S, include_self=True)
    assert sorted(answers) == sorted(cluster.ids)
    assert (await cluster.servers[0].call_server("note", timeout=LONG_S))[second] is None


async def test_more_attachments_than_clients_take(cluster: Any) -> None:
    """No client gets them."""
    many = [bytes([number]) for number in range(11)]
    answers = await cluster.servers[0].call_server("name", many, timeout=LONG_S)
    assert [answer[2] for answer in answers.check().values()] == [many, many]


async def test_a_program_that_only_emits_may_say_and_ask(cluster: Any) -> None:
    for _ in range(3):
        answers = await cluster.program.call_server("name", timeout=LONG_S, include_self=True)
        assert sorted(answers.check()) == sorted(cluster.ids)
    await cluster.program.emit_server("note", 1)
    await cluster.until_heard(*cluster.ids)
    await cluster.servers[0].emit_server("note", 2)
    await cluster.until_heard(*cluster.ids[1:], number=2)
    await cluster.program.shutdown()


@pytest.mark.parametrize("error", [ValueError("x"), Timeout(), SystemExit(3), asyncio.CancelledError()])
async def test_a_handler_that_raises(cluster: Any, error: BaseException) -> None:
    first, second, third = cluster.servers

    @second.on_server("fail")
    async def fail(sender: str) -> None:
        raise error

    @third.on_server("fail")
    def not_json(sender: str) -> Any:
        return object()

    answers = await first.call_server("fail", timeout=LONG_S)
    assert (dict(answers), answers.missing) == ({}, {second.node.id: "failed", third.node.id: "failed"})
    with pytest.raises(socketio.exceptions.TimeoutError) as caught:
        answers.check()
    assert caught.value.answers is answers
    assert second.node.counters.server_events == {"failed": 1}
    assert len((await first.call_server("name", timeout=LONG_S)).check()) == 2


async def test_a_handler_that_cancels_itself(cluster: Any) -> None:
    """That is its own end, whether it waits for it or returns before it comes."""
    first, second, third = cluster.servers

    @second.on_server("end")
    async def end(sender: str) -> None:
        cancel_own_task()
        await asyncio.sleep(0)

    @third.on_server("end")
    async def return_first(sender: str) -> str:
        cancel_own_task()
        return "done"

    answers = await asyncio.wait_for(first.call_server("end", timeout=LONG_S), 10)
    assert (dict(answers), answers.missing) == ({third.node.id: "done"}, {second.node.id: "failed"})
    assert second.node.counters.server_events == {"failed": 1}


def cancel_own_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def test_one_without_a_handler(cluster: Any) -> None:
    answers = await cluster.servers[0].call_server("unknown", timeout=LONG_S)
    assert answers.missing == dict.fromkeys(cluster.ids[1:], "no handler")
    assert cluster.servers[1].node.counters.server_events == {"unhandled": 1}


@pytest.mark.slow
async def test_one_that_is_silent(cluster: Any) -> None:
    @cluster.servers[1].on_server("name")
    async def name(sender: str) -> None:
        await asyncio.Event().wait()

    answers = await cluster.servers[0].call_server("name", timeout=0.3)
    assert (list(answers), answers.missing) == ([cluster.ids[2]], {cluster.ids[1]: "timeout"})


@pytest.mark.slow
async def test_one_that_dies_meanwhile(cluster: Any, kill: Any) -> None:
    second = cluster.servers[1]
    began = asyncio.Event()

    @second.on_server("name")
    async def name(sender: str) -> None:
        began.set()
        await asyncio.Event().wait()

    node = second.node.id
    asking = asyncio.create_task(cluster.servers[0].call_server("name", timeout=LONG_S))
    await asyncio.wait_for(began.wait(), 5)
    await kill(second)
    answers = await asyncio.wait_for(asking, 15)
    assert (list(answers), answers.missing) == ([cluster.ids[2]], {node: "node lost"})
    assert node not in await cluster.servers[0].call_server("name", timeout=LONG_S)


async def test_one_that_stops_answers_first(cluster: Any) -> None:
    second = cluster.servers[1]
    node, began, go_on = second.node.id, asyncio.Event(), asyncio.Event()

    @second.on_server("name")
    async def name(sender: str) -> str:
        began.set()
        await go_on.wait()
        return "late"

    asking = asyncio.create_task(cluster.servers[0].call_server("name", timeout=LONG_S))
    await asyncio.wait_for(began.wait(), 5)
    stopping = asyncio.create_task(second.shutdown())
    await asyncio.sleep(0.1)
    go_on.set()
    await stopping
    assert (await asyncio.wait_for(asking, 10))[node] == "late"


@pytest.mark.slow
async def test_one_that_stops_without_an_answer(cluster: Any) -> None:
    second = cluster.servers[1]
    node, began = second.node.id, asyncio.Event()

    @second.on_server("name")
    async def name(sender: str) -> None:
        began.set()
        await asyncio.Event().wait()

    asking = asyncio.create_task(cluster.servers[0].call_server("name", timeout=LONG_S))
    await asyncio.wait_for(began.wait(), 5)
    await second.shutdown()
    assert (await asyncio.wait_for(asking, 10)).missing == {node: "node lost"}


async def test_a_handler_may_stop_its_own_node(cluster: Any) -> None:
    second = cluster.servers[1]
    stopped = asyncio.Event()

    @second.on_server("stop")
    async def stop(sender: str) -> None:
        await second.shutdown()
        stopped.set()

    await cluster.servers[0].emit_server("stop")
    await asyncio.wait_for(stopped.wait(), 8)


class Json:
    """As python-socketio's `json=` option takes it. It ends like gevent when it reads what it does not like."""

    dumps = json.dumps

    @staticmethod
    def loads(text: str) -> Any:
        if "endless" in text:
            raise Timeout
        return json.loads(text)


async def test_an_answer_that_the_json_module_does_not_read(cluster: Any) -> None:
    """It ends nothing else: answers come through the inbox of the app-node."""
    program = cluster.stage.server(json=Json)
    for sio in cluster.servers:
        sio.on_server("spell", lambda sender: "endless")
    answers = await asyncio.wait_for(program.call_server("spell", timeout=LONG_S), 10)
    assert (dict(answers), answers.missing) == ({}, dict.fromkeys(cluster.ids, "malformed"))
    assert len((await program.call_server("name", timeout=LONG_S)).check()) == 3


async def test_more_than_may_be_in_work(cluster: Any) -> None:
    second = cluster.servers[1]
    go_on = asyncio.Event()
    second.node.uplink.peers._max_bytes = 3000

    @second.on_server("name")
    async def name(sender: str) -> None:
        await go_on.wait()

    asking = [asyncio.create_task(cluster.servers[0].call_server("name", timeout=LONG_S)) for _ in range(3)]
    done, _ = await asyncio.wait(asking, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().missing for task in done] == [{second.node.id: "busy"}]
    go_on.set()
    assert sum(len(answers.missing) for answers in await asyncio.gather(*asking)) == 1
    assert second.node.uplink.peers._bytes == 0


async def test_answers_that_weigh_too_much(cluster: Any) -> None:
    """The call fails, and its answers are gone. The next one has all the room again."""
    first = cluster.servers[0].node
    first.clients.waiting_answers.max_bytes = 1000
    for sio in cluster.servers[1:]:
        sio.on_server("much", lambda sender: "x" * 900)
    with pytest.raises(TooManyAnswers):
        await cluster.servers[0].call_server("much", timeout=LONG_S)
    assert first.counters.answers_too_large == 1
    for _ in range(2):
        assert len((await cluster.servers[0].call_server("name", timeout=LONG_S)).check()) == 2
    assert first.clients.waiting_answers.bytes == 0


async def test_reserved_names_are_refused(cluster: Any) -> None:
    sio = cluster.servers[0]
    for name in ("connect", "connection", "new_namespace"):
        with pytest.raises(ValueError, match="reserved"):
            await sio.emit_server(name)
        with pytest.raises(ValueError, match="reserved"):
            await sio.call_server(name)
        with pytest.raises(ValueError, match="reserved"):
            sio.on_server(name)
    with pytest.raises(TypeError):
        await sio.emit_server("note", object())


async def test_too_many_calls(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app_node.uplink.peers.MAX_CALLS", 0)
    with pytest.raises(TooManyCalls):
        await cluster.servers[0].call_server("name")


async def test_an_older_node_in_the_cluster(cluster: Any, stage: Any) -> None:
    await stage.io_node(level=SERVER_LEVEL - 1)
    with pytest.raises(NodesTooOld):
        await cluster.program.emit_server("note")


async def test_from_handlers(cluster: Any, stage: Any) -> None:
    first = cluster.servers[0]
    io = await stage.io_node()
    await io.bus.registry.register_io_node(io.id, {"level": "3"})
    got: list[Any] = []
    held_by: list[str] = []  # another one than `got` says, where the lane has moved

    for sio in cluster.servers:

        @sio.event
        async def say(sid: str, sio: Any = sio) -> None:
            await sio.emit_server("note", "said")
            got.append((sio.node.id, await sio.call_server("name", timeout=LONG_S)))

        @sio.on("all", atomic=True)
        async def all_or_nothing(sid: str, sio: Any = sio) -> None:
            await sio.emit_server("note", "held")
            for wrong in (sio.call_server("name"), sio.emit_server("note", include_self=True)):
                with pytest.raises(RuntimeError, match="atomic"):
                    await wrong
            held_by.append(sio.node.id)

    sid = await io.connect()
    await io.event(sid, "say")
    await io.settle()
    [(holder, answers)] = got
    assert set(answers.check()) == set(cluster.ids) - {holder}
    await cluster.until_heard(*(set(cluster.ids) - {holder}))
    await io.event(sid, "all")
    await io.settle()
    said = {node: [(holder, "said")] for node in cluster.ids if node != holder}
    [second] = held_by
    for node in set(cluster.ids) - {second}:
        said.setdefault(node, []).append((second, "held"))
    await stage.until(lambda: cluster.heard == said)
    assert first.node.counters.handlers_failed == 0


async def test_one_that_blocks_is_named(cluster: Any) -> None:
    found: list[Any] = []

    @cluster.servers[1].on_server("block")
    def block(sender: str) -> None:
        found.append(handler_in(sys._getframe()))

    await cluster.servers[0].call_server("block", timeout=LONG_S)
    assert found == [{"event_name": "block", "sender": cluster.ids[0]}]


async def test_an_answer_that_nobody_waits_for(cluster: Any) -> None:
    peers = cluster.servers[0].node.uplink.peers
    peers.take("app9-zzzzzz", ServerEvent(b"no json", [], 5))
    await asyncio.wait_for(peers.idle(), 5)
    assert cluster.servers[0].node.counters.server_events == {"failed": 1}
