"""`start`: once, whoever calls it how often, and `on_start` handlers with it."""

import asyncio
import sys
from typing import Any

import pytest


class Timeout(BaseException):
    """As gevent.Timeout."""


async def test_two_calls_at_a_time_start_it_once(stage: Any) -> None:
    sio = stage.echo_server()
    begun, gate = asyncio.Event(), asyncio.Event()
    starts = []

    @sio.on_start
    async def prepare() -> None:
        starts.append(1)
        begun.set()
        await gate.wait()

    first, second = asyncio.create_task(sio.start()), asyncio.create_task(sio.start())
    await begun.wait()
    await asyncio.sleep(0)
    assert not second.done()
    gate.set()
    await asyncio.gather(first, second)
    await sio.start()
    assert starts == [1]
    assert len(sio.node.keeper.held) == 4
    names = [task.get_name() for task in asyncio.all_tasks()]
    for name in ("outbox", "records", "inbox", "heartbeat", "watch", "renew", "read", "plan", "reaper"):
        assert names.count(name) == 1, name


async def test_who_only_emits_opens_once_however_many_emit_at_first(stage: Any) -> None:
    sio = stage.server()
    io = await stage.io_node()
    sid = io.connected().sid
    calls = [asyncio.create_task(sio.call("ask", to=sid, timeout=0.5)) for _ in range(3)]
    await asyncio.gather(*[sio.emit("a", to=sid) for _ in range(3)])
    await asyncio.gather(*calls, return_exceptions=True)
    names = [task.get_name() for task in asyncio.all_tasks()]
    for name in ("outbox", "records", "inbox", "heartbeat"):
        assert names.count(name) == 1, name


async def test_a_start_that_was_cancelled_can_be_made_again(memory_stage: Any) -> None:
    sio = memory_stage.echo_server()
    planned = sio.node.keeper.planned
    wait, waiting = planned.wait, asyncio.Event()

    async def wait_long() -> bool:
        waiting.set()
        await asyncio.Event().wait()
        return True

    planned.wait = wait_long
    first = asyncio.create_task(sio.start())
    await waiting.wait()
    first.cancel()
    planned.wait = wait
    await sio.start()
    assert len(sio.node.keeper.held) == 4
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert names.count("plan") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError(), Timeout(), GeneratorExit()])
async def test_what_an_on_start_handler_raises_ends_the_start(memory_stage: Any, error: BaseException) -> None:
    sio = memory_stage.echo_server()
    failing = True

    @sio.on_start
    async def prepare() -> None:
        if failing:
            raise error

    with pytest.raises(type(error)):
        await sio.start()
    failing = False
    await sio.start()
    assert len(sio.node.keeper.held) == 4


def test_exit_in_on_start_is_for_the_program(memory_stage: Any) -> None:
    """It comes before the first client, so no client can cause it."""
    sio = memory_stage.echo_server()

    @sio.on_start
    def prepare() -> None:
        sys.exit(7)

    async def main() -> None:
        await sio.start()

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert caught.value.code == 7
