"""The garbage collector, as nodes set it."""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sio_cluster.node.process.garbage import BUSY_S, IDLE_S, YOUNG, look_often, tune_garbage_collector

pytestmark = pytest.mark.alone


@pytest.fixture
def tuned() -> Iterator[None]:
    before = gc.get_threshold()
    tune_garbage_collector()
    yield
    gc.set_threshold(*before)


@contextmanager
def passes() -> Iterator[list[int]]:
    """How many objects each pass looks through."""
    seen: list[int] = []

    def look(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(sum(len(gc.get_objects(generation=young)) for young in range(info["generation"] + 1)))

    gc.callbacks.append(look)
    try:
        yield seen
    finally:
        gc.callbacks.remove(look)


def test_no_pass_looks_through_many_objects_when_all_of_them_stay(tuned: None) -> None:
    """As when thousands of clients come: nobody is served during a pass."""
    with passes() as seen:
        kept: list[Any] = [[number] for number in range(30 * YOUNG)]
    assert len(kept) == 30 * YOUNG
    assert max(seen) < 2.2 * YOUNG
    assert len(seen) >= 29


async def test_nor_when_as_many_go_as_come(tuned: None) -> None:
    """As when the clients of a dead io-node come back: Python sees no growth, and begins no pass by itself."""
    objects = deque([number] for number in range(10 * YOUNG))
    gc.collect()
    looking = asyncio.create_task(look_often())
    try:
        with passes() as seen:
            await _replace(objects, 2 * IDLE_S)  # by then it has seen that the process is busy
            del seen[:]
            await _replace(objects, 5 * BUSY_S)
            left = len(gc.get_objects(generation=0))
    finally:
        looking.cancel()
    assert len(seen) >= 2
    assert max([*seen, left]) < 3 * YOUNG


async def _replace(objects: deque[list[int]], seconds: float) -> None:
    """Works about a fifth of the time, and replaces some 100,000 objects a second."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for number in range(100):
            objects.popleft()
            objects.append([number])
        busy_until = time.thread_time() + 0.0002
        while time.thread_time() < busy_until:
            pass
        await asyncio.sleep(0.001)


async def test_nothing_is_looked_through_while_the_process_is_idle(tuned: None) -> None:
    looking = asyncio.create_task(look_often())
    await asyncio.sleep(IDLE_S * 1.2)
    with passes() as seen:
        await asyncio.sleep(IDLE_S * 2.2)
    looking.cancel()
    assert seen == []
