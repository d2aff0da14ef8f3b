"""Whatever a handler raises ends that handler, and nothing else: the fact has ended, and the client goes on."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from socketio.exceptions import ConnectionRefusedError

from app_node.counters import EVENT_HANDLED, LANE_LOST
from app_node.handlers.endings import raise_unless_own, running_task
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.messages import Ack, Disconnect, Emit, Refuse
from sio_cluster.streams.memory import MemoryBroker, MemoryBus


class Timeout(BaseException):
    """As gevent.Timeout and func_timeout.FunctionTimedOut."""


class Unwritable(Exception):
    """As an error that keeps a dict, and looks up there what it is asked for: a traceback cannot be made of it."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


async def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def leave_a_group() -> None:
    async def leave() -> None:
        raise Timeout

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leave())
        await asyncio.sleep(5)


def raises(error: BaseException) -> Any:
    def plain() -> None:
        raise error

    return plain


ENDINGS: dict[str, Any] = {
    "error": raises(ZeroDivisionError()),
    "timeout": raises(Timeout()),
    "group": raises(BaseExceptionGroup("g", [Timeout(), ValueError()])),
    "exit": raises(SystemExit(3)),
    "generator": raises(GeneratorExit()),
    "cancelled": raises(asyncio.CancelledError()),
    "stop": raises(StopIteration()),
    "stop async": raises(StopAsyncIteration()),
    "unwritable": raises(Unwritable()),
    "lease": raises(LeaseLost("of another lane")),
    "cancels itself": cancel_itself,
    "task group": leave_a_group,
}


@pytest.fixture
async def steady_stage(make_stage: Any) -> AsyncIterator[Any]:
    """No lane is lost here, however busy the machine is."""
    broker = MemoryBroker()
    config = Config(lanes=4, lease_ms=20_000, heartbeat_ms=100, node_timeout_ms=20_000)
    stage = make_stage(config, lambda config: MemoryBus(config, broker), broker)
    yield stage
    await stage.stop()


@pytest.fixture(params=ENDINGS)
def end(request: pytest.FixtureRequest) -> Any:
    return ENDINGS[request.param]


async def finish(end: Any) -> None:
    result = end()
    if result is not None:
        await result


@pytest.mark.parametrize("async_handlers", [True, False])
async def test_event(steady_stage: Any, end: Any, async_handlers: bool) -> None:
    sio = steady_stage.echo_server(async_handlers=async_handlers)

    @sio.event
    async def fail(sid: str) -> None:
        await finish(end)

    @sio.event
    def fail_plainly(sid: str) -> Any:
        return end()

    io = await steady_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "fail", ack_id=0)
    await io.event(sid, "fail_plainly", ack_id=1)
    await io.event(sid, "echo", 2, ack_id=2)
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b"32[2]"]
    await io.settle()
    assert sio.node.counters.handlers_failed == 2
    assert sio.node.counters.outcomes[EVENT_HANDLED] == 3


async def test_connect_is_refused(steady_stage: Any, end: Any) -> None:
    sio = steady_stage.server()

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        await finish(end)

    io = await steady_stage.io_node()
    await sio.start()
    sid = await io.ask()
    assert await io.wait(1, Refuse) == [Refuse(sid, b'{"message":"Internal server error"}')]
    await io.settle()
    assert sio.node.counters.handlers_failed == 1
    assert await io.bus.records.load(sid) is None


@pytest.mark.slow
async def test_reconnect_keeps_the_client(memory_stage: Any, end: Any, kill: Any) -> None:
    first = memory_stage.echo_server()
    io = await memory_stage.io_node()
    await first.start()
    sid = await io.connect()
    await io.settle()
    await kill(first)
    second = memory_stage.echo_server()

    @second.event
    async def connect(sid: str, environ: Any, is_reconnect: bool = False) -> None:
        await finish(end)

    await second.start()
    await io.event(sid, "echo", 1, ack_id=1)
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b"31[1]"]
    await io.settle()
    assert second.node.counters.handlers_failed == 1


async def test_disconnect(steady_stage: Any, end: Any) -> None:
    sio = steady_stage.server()

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        await finish(end)

    @sio.event
    async def kick(sid: str, other: str) -> str:
        await sio.disconnect(other)
        return "done"

    io = await steady_stage.io_node()
    await sio.start()
    leaves, kicks, kicked, kicked_from_outside = [await io.connect() for _ in range(4)]
    await io.disconnect(leaves)
    await io.event(kicks, "kick", kicked)
    await io.wait(1, Disconnect)
    if end is not cancel_itself:  # that would cancel this test
        await sio.disconnect(kicked_from_outside)
        await io.wait(2, Disconnect)
    await io.settle()
    for gone in (leaves, kicked):
        assert await io.bus.records.load(gone) is None
    assert sio.node.counters.handlers_failed >= 2


async def test_callback(steady_stage: Any, end: Any) -> None:
    sio = steady_stage.echo_server()
    called = []

    async def answered(number: int) -> None:
        called.append(number)
        await finish(end)

    def answered_plainly(number: int) -> Any:
        called.append(number)
        return end()

    io = await steady_stage.io_node()
    await sio.start()
    sid = await io.connect()
    for number, callback in enumerate((answered, answered_plainly)):
        await sio.emit("question", to=sid, callback=callback)
        emit = (await io.wait(number + 1, Emit))[number]
        await io.answer(sio.node.id, emit.ack.ack_id, sid, number)
    await steady_stage.until(lambda: len(called) == 2)
    await io.event(sid, "echo", 1, ack_id=1)
    await io.wait(1, Ack)
    expected = 0 if end is cancel_itself else 2  # a callback's task may be cancelled
    assert sio.node.counters.callbacks_failed == expected


async def test_a_refusal_that_the_json_module_does_not_write(steady_stage: Any) -> None:
    class Json:
        loads = json.loads

        @staticmethod
        def dumps(value: Any, **options: Any) -> str:
            raise Timeout

    sio = steady_stage.server(json=Json)

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        raise ConnectionRefusedError("no entry", {"code": 4})

    io = await steady_stage.io_node()
    await sio.start()
    sid = await io.ask()
    assert await io.wait(1, Refuse) == [Refuse(sid, b'{"message":"no entry"}')]


async def test_an_answer_that_the_json_module_does_not_read(steady_stage: Any) -> None:
    """Whatever that module raises is the application's own, and ends nothing else."""

    class Json:
        dumps = json.dumps

        @staticmethod
        def loads(text: str) -> Any:
            if "endless" in text:
                raise Timeout
            return json.loads(text)

    sio = steady_stage.echo_server(json=Json)
    answered: list[Any] = []
    io = await steady_stage.io_node()
    await sio.start()
    sid = await io.connect()
    for number, text in enumerate(("endless", "short")):
        await sio.emit("question", to=sid, callback=answered.append)
        emit = (await io.wait(number + 1, Emit))[number]
        await io.answer(sio.node.id, emit.ack.ack_id, sid, text)
    await io.event(sid, "echo", 1, ack_id=1)
    await io.wait(1, Ack)
    await steady_stage.until(lambda: answered)
    assert (answered, sio.node.counters.callbacks_failed) == (["short"], 1)


async def test_a_handler_that_another_handler_cancels_has_ended(steady_stage: Any) -> None:
    """As where a new search cancels the one before."""
    sio = steady_stage.server()
    searches: list[asyncio.Task[Any]] = []

    @sio.event
    async def search(sid: str, text: str) -> str:
        for task in searches:
            task.cancel()
        own = asyncio.current_task()
        assert own is not None
        searches.append(own)
        if text == "first":
            await asyncio.Event().wait()
        return text

    io = await steady_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "search", "first", ack_id=1)
    await steady_stage.until(lambda: searches)
    await io.event(sid, "search", "second", ack_id=2)
    await io.settle()
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b'32["second"]']


@pytest.mark.parametrize("instead", [asyncio.CancelledError, Timeout, ZeroDivisionError, None])
@pytest.mark.slow
async def test_a_handler_that_we_cancel_has_not_ended(memory_stage: Any, instead: Any) -> None:
    """Its lane is lost. Whatever it makes of that, the next holder handles the event again."""
    sio = memory_stage.server()
    running = asyncio.Event()

    @sio.event
    async def hang(sid: str) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if instead is not None:
                raise instead from None

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "hang", ack_id=1)
    await running.wait()
    node = sio.node
    for lane in list(node.keeper.held.values()):
        node.keeper.lose(lane)
    assert node.counters.outcomes[LANE_LOST] == 1
    tasks = [task for task in asyncio.all_tasks() if "_event" in str(task.get_coro())]
    await asyncio.wait(tasks)
    assert node.counters.outcomes[EVENT_HANDLED] == 0
    assert node.counters.handlers_failed == 0
    await memory_stage.until(lambda: node.counters.facts_read_again == 1)  # it takes its own lane again


def test_keyboard_interrupt_ends_its_handler_and_then_the_event_loop() -> None:
    ended = []

    async def work() -> None:
        try:
            raise KeyboardInterrupt
        except BaseException as error:  # noqa: BLE001 - as around a handler
            raise_unless_own(error, running_task(), None)
            ended.append(error)
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(work())
    assert len(ended) == 1


def test_a_coroutine_that_is_closed_has_not_ended() -> None:
    """Its event loop is gone: nothing is logged, counted or committed."""
    ended = []

    async def work() -> None:
        task = running_task()
        try:
            await asyncio.Event().wait()
        except BaseException as error:  # noqa: BLE001 - as around a handler
            raise_unless_own(error, task, None)
            ended.append(error)

    async def begin() -> Any:
        coroutine = work()
        coroutine.send(None)  # as the first step of a task
        return coroutine

    coroutine = asyncio.run(begin())
    coroutine.close()
    del coroutine
    gc.collect()
    assert ended == []
