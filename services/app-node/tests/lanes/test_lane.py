"""How a lane begins the tasks of its handlers."""

import asyncio
import contextvars
import sys
from typing import Any

from app_node.lanes.lane import Lane
from sio_cluster.streams.api.leases import Lease

CAN_BEGIN_AT_ONCE = sys.version_info >= (3, 12)
WORKS_FOR: contextvars.ContextVar[str] = contextvars.ContextVar("works_for", default="nobody")


def lane() -> Lane:
    return Lane(Lease(0, "app1", 1), float("inf"), lambda: 0.0)


async def test_work_that_waits_for_nothing_ends_at_once_where_python_can() -> None:
    ours, ran = lane(), []

    async def work() -> None:
        ran.append(asyncio.current_task())

    ours.start(work())
    assert bool(ran) is CAN_BEGIN_AT_ONCE
    await asyncio.sleep(0)
    assert isinstance(ran[0], asyncio.Task)
    assert ran[0] is not asyncio.current_task()
    await asyncio.sleep(0)
    assert not ours.tasks


async def test_work_that_waits_ends_with_the_lane() -> None:
    ours, ended = lane(), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    ours.start(work())
    await asyncio.sleep(0)
    [task] = ours.tasks
    task.cancel()
    await asyncio.wait([task])
    assert ended == [True]
    await asyncio.sleep(0)
    assert not ours.tasks


async def test_a_time_limit_in_the_work_ends_only_that_work() -> None:
    ours, said = lane(), []

    async def work() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            said.append("too late")

    ours.start(work())
    await asyncio.wait(ours.tasks)
    assert said == ["too late"]


async def test_each_work_has_a_context_of_its_own() -> None:
    ours, found = lane(), []

    async def work(name: str) -> None:
        found.append(WORKS_FOR.get())
        WORKS_FOR.set(name)

    for name in ("first", "second"):
        ours.start(work(name))
    await asyncio.sleep(0)
    assert (found, WORKS_FOR.get()) == (["nobody", "nobody"], "nobody")


async def test_an_event_loop_with_a_task_factory_makes_the_task() -> None:
    ours, made = lane(), []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(asyncio.Task(work, loop=loop, **options))
        return made[-1]

    async def work() -> None: ...

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        ours.start(work())
    finally:
        loop.set_task_factory(None)
    assert set(made) == ours.tasks
    await asyncio.wait(made)
