"""The loops of a node: tasks that live as long as the node does."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

import structlog

log = structlog.get_logger()


class Loops:
    """Named tasks that never end by themselves.

    A loop that ends all the same, by an exception, by returning, or since something that it waited for was cancelled,
    is a defect or a mismatch with the cluster. Then `failed` is set and `failure` says why: whoever owns the node stops
    it, so that it is started anew.
    """

    def __init__(
        self, on_failure: Callable[[], None] | None = None, context: Callable[[], Context] | None = None
    ) -> None:
        """`on_failure` is called at once when a loop fails, for what cannot wait until somebody sees `failed`.

        `context` gives the context variables of a loop, None: those of whoever starts it.
        """
        self._on_failure = on_failure
        self._context = context
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None

    @property
    def dead_because(self) -> str:
        """Why the node can do nothing any more, "" while no loop has failed."""
        return "" if self.failure is None else f"a loop has failed: {self.failure!r}"

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def start(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        """Runs a loop from now on. `name` is unique within the node, and stands in logs."""
        context = None if self._context is None else self._context()
        task = asyncio.create_task(loop, name=name, context=context)
        self._tasks[name] = task
        task.add_done_callback(self._on_end)

    async def stop(self) -> None:
        """Cancels all loops, and returns when they have ended. Idempotent."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def raise_failure(self) -> None:
        """Waits until a loop fails, and raises what it raised."""
        await self.failed.wait()
        assert self.failure is not None
        raise self.failure

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        if self._stopping or (task.cancelled() and task.cancelling()):
            return
        failure = _failure_of(task)
        if self.failure is None:
            self.failure = failure
            self.failed.set()
        log.critical("loop_failed", loop=task.get_name(), exc_info=failure)
        if self._on_failure is not None:
            self._on_failure()


def _failure_of(task: "asyncio.Task[None]") -> BaseException:
    ended = f"the loop {task.get_name()} ended"
    if task.cancelled():  # and not by whoever stops the node
        return RuntimeError(f"{ended}: something that it waited for was cancelled")
    return task.exception() or RuntimeError(ended)
