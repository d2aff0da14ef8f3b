"""Tests that assert a time run alone, from their start or from their midst."""

import asyncio
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest
from tests import machine

pytestmark = pytest.mark.slow

OTHER = """
import sys
from tests import machine
with machine.taken(alone=False, run=sys.argv[1]):
    print("in", flush=True)
    sys.stdin.readline()
    print("out", flush=True)
"""


@pytest.fixture
def run() -> Iterator[str]:
    name = uuid4().hex
    yield name
    machine.forget(name)


async def other(run: str) -> asyncio.subprocess.Process:
    """Another worker, in the midst of a test until it is written to."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-c", OTHER, run, stdin=pipe, stdout=pipe)


async def line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readline()


async def end(process: asyncio.subprocess.Process) -> None:
    await process.communicate(b"\n")


async def test_one_in_its_midst_waits_for_the_others_and_keeps_new_ones_out(run: str) -> None:
    with machine.taken(alone=False, run=run):
        first = await other(run)
        assert await line(first) == b"in\n"
        asking = asyncio.create_task(machine.taken_alone_from_now(run))
        done, _ = await asyncio.wait([asking], timeout=0.1)
        assert not done
        await end(first)
        await asyncio.wait_for(asking, 5)

        second = await other(run)
        entering = asyncio.create_task(line(second))
        entered, _ = await asyncio.wait([entering], timeout=0.5)
        assert not entered
    assert await asyncio.wait_for(entering, 5) == b"in\n"
    await end(second)
