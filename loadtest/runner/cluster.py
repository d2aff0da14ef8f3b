"""The target of the load: a cluster that is there, or the embedded one."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from loadtest.errors import CannotRun
from loadtest.runner.options import Options
from sio_stack import Stack, StackError

TIMEOUT_S = 5.0
NAMESPACE = "/loadtest"
SEPARATOR = "\x1e"
_PATH = "/socket.io/?EIO=4&transport=polling"

# Whoever waits for the report does not want to wait for a long drain. Settings of the environment win.
_SETTINGS = {"LOADTEST": "1", "LOG_LEVEL": "warning", "LOG_FORMAT": "json", "DRAIN_MS": "500", "SHUTDOWN_MS": "3000"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where clients connect. `pids` names the parts of the embedded cluster; empty for a cluster that was there."""

    url: str
    embedded: bool = False
    pids: Callable[[], dict[str, int]] = field(default=dict)


@asynccontextmanager
async def target(
    options: Options, say: Callable[[str], None], log: Callable[[str, str], None]
) -> AsyncIterator[Target]:
    """A cluster that takes part in load tests. Where none answers on this machine, one is started, and stopped later.

    Raises CannotRun.
    """
    if await answers(options.url):
        await check(options.url)
        say(f"Testing the cluster at {options.url}")
        yield Target(options.url)
        return
    if not options.is_local:
        raise CannotRun(f"nothing answers at {options.url} (a cluster is started only on this machine, for http)")
    say(f"Nothing answers at {options.url}: starting a cluster there ({options.io_nodes} io-nodes, the chat example)")
    settings = {**_SETTINGS, **{name: os.environ[name] for name in _SETTINGS if os.environ.get(name)}, "LOADTEST": "1"}
    stack = Stack(io_nodes=options.io_nodes, port=options.port, env=settings, on_line=log, on_notice=log)
    try:
        await stack.start()
    except StackError as error:
        raise CannotRun(str(error)) from None
    try:
        await check(stack.url)
        say("The cluster is ready")
        yield Target(stack.url, embedded=True, pids=lambda: _pids(stack))
    finally:
        say("Stopping the cluster ...")
        await stack.stop()


async def answers(url: str) -> bool:
    """Whether anything listens there. `check` tells whether it is a cluster."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
            writer.close()
    except (OSError, TimeoutError):
        return False
    return True


async def check(url: str) -> None:
    """Connects once as a client would, by polling, and leaves politely.

    Raises CannotRun where this is no Socket.IO server, no app-node serves it, or it has no /loadtest namespace.
    """
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=None) as http:
            async with asyncio.timeout(TIMEOUT_S):
                opened = await http.get(url + _PATH)
            await _join(http, url, opened)
    except TimeoutError:
        raise CannotRun(f"{url} listens, but does not answer HTTP within {TIMEOUT_S:g} s") from None
    except httpx.HTTPError as error:
        raise CannotRun(f"{url} does not answer HTTP: {str(error) or type(error).__name__}") from None


async def _join(http: httpx.AsyncClient, url: str, opened: httpx.Response) -> None:
    if opened.status_code != 200 or not opened.text.startswith('0{"sid":"'):
        raise CannotRun(
            f"{url} is no Socket.IO server that takes polling (HTTP {opened.status_code} to a handshake): "
            "stop what listens there, or choose another with URL="
        )
    session = url + _PATH + "&sid=" + opened.text.split('"', 4)[3]
    try:
        async with asyncio.timeout(2 * TIMEOUT_S):
            answer = await _connect(http, session)
    except TimeoutError:
        raise CannotRun(
            f"{url} answers, but its application does not take a CONNECT within {2 * TIMEOUT_S:g} s: is an app-node up?"
        ) from None
    if answer.startswith("44"):
        raise CannotRun(
            f"{url} has no {NAMESPACE} namespace: start it with `make run` or with LOADTEST=1 and the chat example "
            "(loadtest/README.md tells how to test an application of your own)"
        )
    await http.post(session, content=f"41{NAMESPACE},{SEPARATOR}1")


async def _connect(http: httpx.AsyncClient, session: str) -> str:
    """The packet that answers the CONNECT. Other packets are skipped; PINGs are answered."""
    await http.post(session, content=f"40{NAMESPACE},")
    while True:
        packets = (await http.get(session)).text.split(SEPARATOR)
        if "2" in packets:
            await http.post(session, content="3")
        for packet in packets:
            if packet.startswith(("40", "44")):
                return packet


def _pids(stack: Stack) -> dict[str, int]:
    processes = [stack.nginx, *(n.process for n in (*stack.io_nodes, *stack.app_nodes)), stack.valkey]
    return {process.name: process.pid for process in processes if process is not None}
