"""Who has the machine: the tests of all workers share it, or one of them has it alone, because it asserts a time.

One lock for the whole run says so. Without workers (no pytest-xdist) a test is alone anyway.
"""

import asyncio
import atexit
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO


@contextmanager
def taken(*, alone: bool, run: str = "") -> Iterator[None]:
    """Waits until no other test runs (`alone`), or none that is alone.

    `run` is pytest-xdist's name of the whole run; by default, that of this run.
    """
    run = run or _run()
    if not run:
        yield
        return
    fcntl.flock(_lock(run), fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    try:
        yield
    finally:
        fcntl.flock(_lock(run), fcntl.LOCK_UN)


async def taken_alone_from_now(run: str = "") -> None:
    """For a test in its midst: waits until no other test runs. Those that would begin wait until this one has ended.

    It gives the machine up while it waits, so that two that ask at once do not wait for each other.
    """
    if run := run or _run():
        await asyncio.to_thread(fcntl.flock, _lock(run), fcntl.LOCK_EX)


def forget(run: str) -> None:
    """Removes the lock's file. Those who need it have it open."""
    _path(run).unlink(missing_ok=True)


def _run() -> str:
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", "")


@cache
def _lock(run: str) -> IO[str]:
    lock = _path(run).open("a")
    atexit.register(lock.close)
    return lock


def _path(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"sio-tests-{run}.lock"
