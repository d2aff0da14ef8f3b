"""For the tests of the downlink."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from .benches import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    task = asyncio.create_task(bench.outbox.run())
    yield bench
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
