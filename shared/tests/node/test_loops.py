"""The loops of a node: they run until the node stops, and one that ends is told of."""

import asyncio

import pytest
from structlog.testing import capture_logs

from sio_cluster.node.loops import Loops


async def for_ever() -> None:
    await asyncio.Event().wait()


async def broken() -> None:
    raise ValueError("a defect")


async def done() -> None:
    return


async def test_loops_run_until_they_are_stopped() -> None:
    loops = Loops()
    loops.start("a", for_ever())
    loops.start("b", for_ever())
    assert "a" in loops
    assert "c" not in loops
    await asyncio.sleep(0)
    await loops.stop()
    await loops.stop()
    assert loops.failure is None
    assert not loops.failed.is_set()


async def test_a_loop_that_raises_is_the_failure_of_the_node() -> None:
    loops = Loops()
    with capture_logs() as lines:
        loops.start("a", broken())
        with pytest.raises(ValueError, match="a defect"):
            await loops.raise_failure()
    assert isinstance(loops.failure, ValueError)
    assert [(line["event"], line["loop"]) for line in lines] == [("loop_failed", "a")]
    await loops.stop()


async def test_a_loop_that_returns_has_failed_too() -> None:
    loops = Loops()
    loops.start("a", done())
    await loops.failed.wait()
    assert "the loop a ended" in str(loops.failure)
    await loops.stop()


async def test_a_loop_that_ends_since_something_else_was_cancelled_has_failed_too() -> None:
    async def waits() -> None:
        never = asyncio.get_running_loop().create_future()
        never.cancel()
        await never

    loops = Loops()
    loops.start("a", waits())
    await loops.failed.wait()
    assert "the loop a ended" in str(loops.failure)
    assert isinstance(loops.failure, RuntimeError)
    await loops.stop()


async def test_a_loop_that_is_cancelled_from_outside_has_not_failed() -> None:
    """As when the program ends."""
    loops = Loops()
    loops.start("a", for_ever())
    await asyncio.sleep(0)
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "a"]
    task.cancel()
    await asyncio.wait([task])
    assert loops.failure is None
    await loops.stop()


async def test_the_first_failure_is_kept() -> None:
    loops = Loops()
    loops.start("a", broken())
    await loops.failed.wait()
    loops.start("b", done())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert isinstance(loops.failure, ValueError)
    await loops.stop()


async def test_what_ends_while_the_node_stops_is_no_failure() -> None:
    async def ends_late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while it was cancelled")

    loops = Loops()
    loops.start("a", ends_late())
    await asyncio.sleep(0)
    await loops.stop()
    assert loops.failure is None


async def test_a_failure_is_told_at_once() -> None:
    told: list[BaseException | None] = []
    loops = Loops(on_failure=lambda: told.append(loops.failure))
    loops.start("a", broken())
    await loops.failed.wait()
    assert [repr(failure) for failure in told] == ["ValueError('a defect')"]
    await loops.stop()
