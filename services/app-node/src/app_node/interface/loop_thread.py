"""An event loop in a thread of its own, for code that has none."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from app_node.downlink.batch import STOPPED
from app_node.interface.server import ClusterServer
from sio_cluster.protocol.errors import BusUnavailable

_SLACK_S = 1.0
"""How much longer than the event loop a caller waits for it: operations have their own, shorter limit there."""

_T = TypeVar("_T")


class LoopThread:
    """A server object in its own event loop, for as long as `end` is not called and the process is the same.

    The thread is a daemon: it keeps no process from ending.
    """

    def __init__(self, make_server: Callable[[], ClusterServer]) -> None:
        self._pid = os.getpid()
        self._server = make_server()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="app-node-emitter", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """False in a process that was forked: the thread is in the other one."""
        return self._pid == os.getpid()

    def run(self, operation: Callable[[ClusterServer], Coroutine[Any, Any, _T]], within_s: float) -> _T:
        """What the operation returns or raises, which ends within this time. Raises BusUnavailable where it does not,
        as where the interpreter is on its way out, and RuntimeError where `end` was called."""
        coroutine = operation(self._server)
        try:
            future: Future[_T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the event loop is closed
            coroutine.close()
            raise RuntimeError(STOPPED) from None
        try:
            return future.result(within_s + _SLACK_S)
        except TimeoutError:
            if future.done():  # the operation raised it
                raise
            raise BusUnavailable(f"no answer within {within_s:g} s: nobody knows what has happened") from None
        except CancelledError:
            raise RuntimeError(STOPPED) from None
        finally:
            future.cancel()  # also where the caller was interrupted

    def end(self, within_s: float) -> None:
        """The node leaves the cluster, and the thread ends. Idempotent. Does nothing in a process that was forked."""
        if not self.is_here or self._loop.is_closed() or threading.current_thread() is self._thread:
            return
        with contextlib.suppress(RuntimeError, BusUnavailable):  # the node says in its log why it left without a word
            self.run(lambda server: _shut_down(server, within_s), within_s)
        with contextlib.suppress(RuntimeError):  # another thread has called this too
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SLACK_S)
        if not self._thread.is_alive() and not self._loop.is_closed():
            self._loop.close()


async def _shut_down(server: ClusterServer, within_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await server.shutdown()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:  # whoever waits for one of them is told
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_SLACK_S)
