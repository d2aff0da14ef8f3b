"""Runs a node as the program of its process."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from sio_cluster.node.process.garbage import look_often, tune_garbage_collector

log = structlog.get_logger()


def run_node(main: Coroutine[Any, Any, None], new_event_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Runs `main` in an event loop of its own until it ends. Raises what it raises.

    The application has tasks in this event loop too, such as those that `asyncio.gather` makes. If one of them raises
    SystemExit, asyncio would end the program. Here it is logged as `exit_ignored`, and everything goes on: one client's
    message must not stop the node. SystemExit from `main` itself does end the program.

    KeyboardInterrupt from anywhere ends the program too. `main` is cancelled before, while all other tasks go on, so
    that it can bring its work to an end.
    """
    tune_garbage_collector()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        loop = runner.get_loop()
        running = loop.create_task(_with_small_passes(main))
        while not running.done():
            try:
                loop.run_until_complete(running)
            except SystemExit as error:
                if not running.done():
                    log.exception("exit_ignored", status=error.code)
            except KeyboardInterrupt:
                if not running.done():
                    running.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        loop.run_until_complete(running)
                raise
        running.result()


async def _with_small_passes(main: Coroutine[Any, Any, None]) -> None:
    looking = asyncio.create_task(look_often(), name="garbage")
    try:
        await main
    finally:
        looking.cancel()
        await asyncio.wait([looking])
