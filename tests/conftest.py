"""A cluster of real processes for tests, which those of any event loop can share; and Node for those in JavaScript."""

import asyncio
import json
import shutil
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.warm import NODES, forked

T = TypeVar("T")

ROOT = Path(__file__).parent.parent


def node() -> str:
    """The Node of the project's environment, else that of the system."""
    own = Path(sys.executable).parent / "node"
    return str(own) if own.exists() else shutil.which("node") or pytest.fail("no Node: run `make setup`")


class BackgroundStack:
    """A `sio_stack.Stack` that lives in a thread with an event loop of its own, so that tests of any loop share it.

    `stack` is for reading; what awaits goes through `run`.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)
        self.stack: Any = None
        self.errors: list[str] = []

    def __enter__(self) -> "BackgroundStack":
        with forked(*NODES):
            self._thread.start()
            self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """As `run`, from a test's own loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from sio_stack import Stack

        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        async with Stack(**self._settings, on_line=self._hear) as self.stack:
            self._started.set()
            await self._ended.wait()

    def _hear(self, name: str, line: str) -> None:
        """Keeps errors of the nodes' logs, but for failures of the test application's handlers."""
        try:
            entry = json.loads(line)
        except ValueError:
            entry = {"level": "error" if "Traceback" in line else "info", "event": line}
        if entry.get("level") in ("error", "critical") and entry["event"] != "handler_failed":
            self.errors.append(f"{name}: {line}")
