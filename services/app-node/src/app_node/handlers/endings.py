"""How a handler may end: it returns, or it raises anything at all.

Whatever a handler raises is its own failure and ends its fact: the time-outs of gevent and func_timeout, which are no
`Exception`, as well as `SystemExit`, groups, or a CancelledError that the application caused itself. KeyboardInterrupt
ends the process too, after that: else the next app-node began the same fact, and ended as well.
"""

import asyncio
import contextlib
from typing import Any, NoReturn, Protocol

from sio_cluster.protocol.errors import LeaseLost

RunningTask = asyncio.Task[Any] | None


class Owner(Protocol):
    """For what a handler's task runs, such as the lane of its fact."""

    lost: bool
    """Whether we have cancelled the task, or soon do."""

    def held(self) -> bool: ...


def running_task() -> RunningTask:
    """The task that runs now. None outside of tasks."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs
        return None


def raise_unless_own(error: BaseException, task: RunningTask, lane: Owner | None) -> None:
    """To be called in the `except` clause around a handler. Returns if the handler itself ended with `error`.

    `task` is the task that began the handler. `lane` is the lane of the handler's fact, or what stands for it; None if
    the handler runs in a task that is not ours. Raises what is not the handler's own end:

    - GeneratorExit, if the coroutine is closed from outside: its event loop is gone.
    - CancelledError, if we cancelled the task since its lane is lost. In a task that is not ours: if anybody did.
    - LeaseLost, if the lane is lost.

    KeyboardInterrupt is the handler's own end, and comes out of the event loop a moment later.
    """
    if isinstance(error, GeneratorExit) and running_task() is not task:
        raise error
    if isinstance(error, KeyboardInterrupt):
        asyncio.get_running_loop().call_soon(_raise, error)
    if lane is None:
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        return
    if lane.lost:
        raise asyncio.CancelledError
    if isinstance(error, LeaseLost) and not lane.held():
        raise error
    if task is not None and isinstance(error, asyncio.CancelledError):
        while task.cancelling():  # the application cancelled the task; the next handler in it must not notice
            task.uncancel()


async def forget_cancellation(task: RunningTask, lane: Owner) -> None:
    """To be called where a handler has ended and its task goes on: what comes next must not notice that it was
    cancelled.

    A handler may cancel its own task and return. The cancellation would then end whatever the task awaits next. Raises
    CancelledError if we cancelled the task since its lane is lost.
    """
    while task is not None and task.cancelling():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        if lane.lost:
            raise asyncio.CancelledError
        while task.cancelling():
            task.uncancel()


def _raise(error: KeyboardInterrupt) -> NoReturn:
    raise error
