"""What the load goes to: a cluster that is there, or the embedded one."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from loadtest.runner import probe
from loadtest.runner.options import CannotRun, Options
from sio_stack import Stack, StackError

# A person who waits for the report waits for no long drain; the settings of the environment win.
_SETTINGS = {"LOADTEST": "1", "LOG_LEVEL": "warning", "LOG_FORMAT": "json", "DRAIN_MS": "500", "SHUTDOWN_MS": "3000"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where clients connect. `pids` are the embedded cluster's parts by name; none where the cluster is another's."""

    url: str
    embedded: bool = False
    pids: Callable[[], dict[str, int]] = field(default=dict)


@asynccontextmanager
async def target(
    options: Options, say: Callable[[str], None], log: Callable[[str, str], None]
) -> AsyncIterator[Target]:
    """A cluster that takes load tests. Where none answers on this machine, one is started, and stopped at the end.

    Raises CannotRun.
    """
    if await probe.answers(options.url):
        await probe.check(options.url)
        say(f"Testing the cluster at {options.url}")
        yield Target(options.url)
        return
    if not options.is_local:
        raise CannotRun(f"nothing answers at {options.url} (only on this machine, by http, is a cluster started)")
    say(f"Nothing answers at {options.url}: starting a cluster there ({options.io_nodes} io-nodes, the chat example)")
    settings = {**_SETTINGS, **{name: os.environ[name] for name in _SETTINGS if os.environ.get(name)}, "LOADTEST": "1"}
    stack = Stack(io_nodes=options.io_nodes, port=options.port, env=settings, on_line=log, on_notice=log)
    try:
        await stack.start()
    except StackError as error:
        raise CannotRun(str(error)) from None
    try:
        await probe.check(stack.url)
        say("The cluster is ready")
        yield Target(stack.url, embedded=True, pids=lambda: _pids(stack))
    finally:
        say("Stopping the cluster ...")
        await stack.stop()


def _pids(stack: Stack) -> dict[str, int]:
    processes = [stack.nginx, *(n.process for n in (*stack.io_nodes, *stack.app_nodes)), stack.valkey]
    return {process.name: process.pid for process in processes if process is not None}
