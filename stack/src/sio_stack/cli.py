"""`make run`: a Stack on the terminal, until Ctrl-C, SIGTERM or SIGHUP."""

import asyncio
import os
import sys
import time

import typer

from sio_stack.screen import Screen
from sio_stack.settings import REPOSITORY, Settings, StackError, from_environ
from sio_stack.stack import Stack
from sio_stack.stop import Stop


def main() -> None:
    typer.run(run)


def run() -> None:
    """Start Valkey, nginx, io-nodes and app-nodes on this machine, until Ctrl-C.

    Settings come from the environment: PORT (8080), HOST (this machine only), IO_NODES (4), APP_NODES (1),
    APP (the chat example), WEB, REDIS_URL, and every setting of the nodes themselves, such as PING_INTERVAL_MS.
    """
    screen = Screen()
    try:
        settings = from_environ(environ_of_nodes())
        sys.exit(asyncio.run(_run(settings, screen)))
    except StackError as error:
        screen.refuse(str(error))
        sys.exit(2)


async def _run(settings: Settings, screen: Screen) -> int:
    began = time.monotonic()
    stack = Stack(
        app=settings.app,
        web=settings.web,
        io_nodes=settings.io_nodes,
        app_nodes=settings.app_nodes,
        host=settings.host,
        port=settings.port,
        redis_url=settings.redis_url,
        env=settings.env,
        run_dir=REPOSITORY / ".run" / str(settings.port),
        on_line=screen.line,
        on_notice=screen.notice,
    )
    stop = Stop()
    stop.on_at_once = stack.kill
    stop.listen()
    await stack.check()
    screen.say("Starting ...")
    starting = asyncio.create_task(stack.start())
    asked = asyncio.create_task(stop.asked.wait())
    await asyncio.wait([starting, asked], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        screen.say("Stopping ... (once more to kill)")
        starting.cancel()  # `start` stops what it has started
        await asyncio.wait([starting])
        screen.say("Everything has stopped")
        return 0
    starting.result()
    screen.running(stack, time.monotonic() - began)
    await asked
    screen.say("Stopping ... (once more to kill)")
    began = time.monotonic()
    await stack.stop()
    screen.say(f"Everything has stopped ({time.monotonic() - began:.1f} s)")
    return 0


def environ_of_nodes() -> dict[str, str]:
    """The environment of the nodes, with defaults that suit a person at a terminal.

    Logs are readable. Stopping does not drain for long, and the lanes of a killed app-node come back soon. The chat
    example takes part in load tests, unless LOADTEST=0.
    """
    log_format = "console" if sys.stdout.isatty() else "json"
    waits = {"DRAIN_MS": "500", "SHUTDOWN_MS": "3000", "LEASE_MS": "2000"}
    defaults = {"LOG_FORMAT": log_format, "LOADTEST": "1", **waits}
    return {**defaults, **{name: value for name, value in os.environ.items() if value}}
