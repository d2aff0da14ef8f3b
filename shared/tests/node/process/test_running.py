"""A node as the program of its process: what of the application's tasks may end it."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
import structlog
import uvloop

from sio_cluster.node.process.running import run_node

Factory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=["asyncio", "uvloop"])
def new_event_loop(request: pytest.FixtureRequest) -> Factory:
    return uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop


async def leave() -> None:
    await asyncio.sleep(0)
    sys.exit(3)


def test_an_exit_of_a_task_that_the_application_made_is_its_own(new_event_loop: Factory) -> None:
    caught: list[Any] = []

    async def main() -> None:
        for _ in range(3):
            try:
                await asyncio.gather(leave(), asyncio.sleep(0.001))
            except SystemExit as error:
                caught.append(error.code)
        asyncio.get_running_loop().call_soon(sys.exit, 4)
        after: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(after.set_result, "after")
        caught.append(await after)

    with structlog.testing.capture_logs() as logs:
        run_node(main(), new_event_loop)
    assert caught == [3, 3, 3, "after"]
    assert [(line["event"], line["status"]) for line in logs] == [("exit_ignored", status) for status in (3, 3, 3, 4)]


@pytest.mark.parametrize("error", [SystemExit(5), ValueError("x"), KeyboardInterrupt()])
def test_what_main_raises_ends_it(new_event_loop: Factory, error: BaseException) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        raise error

    with structlog.testing.capture_logs() as logs, pytest.raises(type(error)):
        run_node(main(), new_event_loop)
    assert logs == []


def test_an_interrupt_of_another_task_lets_main_end_its_work(new_event_loop: Factory) -> None:
    done: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        wanted = asyncio.Event()

        async def work() -> None:
            await wanted.wait()
            done.append("work")

        async def interrupt() -> None:
            raise KeyboardInterrupt

        working, interrupting = loop.create_task(work()), loop.create_task(interrupt())
        try:
            await asyncio.Event().wait()
        finally:
            wanted.set()
            await working
            assert isinstance(interrupting.exception(), KeyboardInterrupt)
            done.append("main")

    with pytest.raises(KeyboardInterrupt):
        run_node(main(), new_event_loop)
    assert done == ["work", "main"]


def test_an_exit_in_the_last_moment_does_not_change_how_it_ended(new_event_loop: Factory) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(sys.exit, 4)

    run_node(main(), new_event_loop)
