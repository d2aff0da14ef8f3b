"""Connection state recovery: stock JavaScript clients whose io-node dies, leaves or freezes get their sessions back,
and every message once and in order, judged from what handlers and clients wrote (tests/chaos/streams.py).

The application emits about 500 messages a second from each app-node: to rooms, to two rooms at once, to sids, to all
but one of a room, to everybody, and with attachments.
"""

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.chaos import streams
from tests.chaos.field import ENV, NODE_TIMEOUT_S, until
from tests.conftest import ROOT

from sio_cluster.testing.http import http_client
from sio_cluster.testing.valkey import Valkey, start_valkey
from sio_stack import Stack
from sio_stack.settings import free_ports
from sio_stack.stack import Node

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

APP = str(ROOT / "tests/chaos/recovery_app.py") + ":sio"
CLIENTS, ROOMS = 200, 40
WINDOW_S = 30
BACK_S = 25.0
"""When all must be back, on a busy machine."""


class Scene:
    """A cluster with clients, and what may be done to it."""

    def __init__(self, stack: Stack, valkey: Valkey, directory: Path, rng: random.Random) -> None:
        self.stack = stack
        self.valkey = valkey
        self.directory = directory
        self.rng = rng
        self.lines: list[tuple[str, str]] = []
        self.clients: asyncio.subprocess.Process | None = None

    async def begin(self) -> None:
        """Starts the clients, and waits until all are in and get messages."""
        node = Path(sys.executable).parent / "node"
        self.clients = await asyncio.create_subprocess_exec(
            str(node) if node.exists() else "node", str(ROOT / "tests/chaos/js/recovery.mjs"),
            self.stack.url, str(self.directory / "clients-0.txt"), "0", str(CLIENTS),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        assert self.clients.stdout is not None
        async with asyncio.timeout(40):
            assert (await self.clients.stdout.readline()).strip() == b"in", "clients could not connect"
        await asyncio.sleep(1.0)

    async def order(self, word: bytes) -> None:
        assert self.clients is not None
        assert self.clients.stdin is not None
        self.clients.stdin.write(word + b"\n")
        await self.clients.stdin.drain()

    def kill(self, node: Node) -> int:
        """Kills it with -9. The stack starts it again. Returns how many clients had it for their home."""
        had = self.at_home(node)
        os.kill(node.pid, signal.SIGKILL)
        return had

    def at_home(self, node: Node) -> int:
        """How many clients have this node for their home, in any of its lives."""
        return len(
            {client for letter, client, sid in self._lines() if letter == "o" and sid.startswith(f"{node.name}-")}
        )

    @property
    def broken(self) -> int:
        """How many connections broke so far."""
        return sum(letter == "p" for letter, *_ in self._lines())

    async def all_back(self, broken: int) -> None:
        """Waits until all clients are connected, after at least so many connections broke."""

        async def back() -> bool:
            letters = [letter for letter, *_ in self._lines()]
            return letters.count("p") >= broken and letters.count("o") - letters.count("p") == CLIENTS

        await until(back, BACK_S, f"clients are not back after {broken} connections broke", every_s=0.2)

    async def restarted(self, node: Node, old: int) -> None:
        """Waits until the stack has started it again, and it takes clients."""

        async def is_ready() -> bool:
            if node.pid in (0, old):
                return False
            async with http_client(timeout=2) as http:
                try:
                    return (await http.get(f"{node.url}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

        await until(is_ready, 20, f"{node.name} was not started again")

    def _lines(self) -> list[tuple[str, str, str]]:
        """Of each line about a connection: its letter, its client, its sid."""
        lines = (self.directory / "clients-0.txt").read_text().splitlines()
        words = [line.split() for line in lines if line[:1] in "op"]
        return [(word[0], word[2], word[3]) for word in words if len(word) > 3]

    async def end(self) -> streams.Seen:
        """Lets what is under way arrive, and judges."""
        await asyncio.sleep(1.0)
        (self.directory / "hush").touch()
        await asyncio.sleep(3.0)
        await self.order(b"leave")
        assert self.clients is not None
        async with asyncio.timeout(20):
            await self.clients.wait()
        await asyncio.sleep(1.0)
        await self.stack.stop()
        return streams.look(self.directory, skipped_below=ROOMS)


@asynccontextmanager
async def scene(seed: int, name: str, *, io_nodes: int = 3, app_nodes: int = 2) -> AsyncIterator[Scene]:
    directory = Path(tempfile.mkdtemp(prefix="sio-recovery-"))
    lines: list[tuple[str, str]] = []
    async with AsyncExitStack() as exits:
        exits.callback(shutil.rmtree, directory, ignore_errors=True)
        valkey = exits.enter_context(start_valkey(free_ports(1)[0], appendonly="yes", appendfsync="no"))
        env = {
            **ENV, "CHAOS_RECORDS": str(directory), "CHAOS_ROOMS": str(ROOMS),
            "RECOVERY_WINDOW_MS": str(WINDOW_S * 1000),
        }  # fmt: skip
        stack = await exits.enter_async_context(
            Stack(
                io_nodes=io_nodes, app_nodes=app_nodes, app=APP, port=0, redis_url=valkey.url, env=env,
                on_line=lambda node, line: lines.append((node, line)),
            )
        )  # fmt: skip
        it = Scene(stack, valkey, directory, random.Random(f"{seed}/{name}"))
        it.lines = lines
        try:
            await it.begin()
            yield it
        except BaseException:
            kept = ROOT / ".run/chaos" / f"failed-{name.replace(' ', '-')}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(directory, kept)
            (kept / "log.txt").write_text("\n".join(f"{node}: {line}" for node, line in lines))
            raise
        finally:
            if it.clients is not None and it.clients.returncode is None:
                it.clients.kill()
                await it.clients.wait()


def judged(seen: streams.Seen, *, recovered: int) -> None:
    print(f"{seen.messages} messages, {seen.broken} connections broken, {seen.recovered} recovered")
    assert streams.faults(seen) == []
    assert seen.clients == CLIENTS
    assert seen.recovered >= recovered
    assert seen.messages > 10 * CLIENTS


async def test_kill(seed: int) -> None:
    """Three times: whichever io-node is killed, with those that it took over before."""
    async with scene(seed, "recovery, io-node killed") as it:
        for _ in range(3):
            victim = it.rng.choice(it.stack.io_nodes)
            old, before = victim.pid, it.broken
            it.kill(victim)
            await asyncio.sleep(1.0)
            await it.all_back(before)
            await it.restarted(victim, old)
            await asyncio.sleep(NODE_TIMEOUT_S + 1)  # and the old one is buried
        judged(await it.end(), recovered=CLIENTS // 4)


async def test_drain(seed: int) -> None:
    async with scene(seed, "recovery, io-node drained") as it:
        victim = it.rng.choice(it.stack.io_nodes)
        had = it.at_home(victim)
        victim.process.signal(signal.SIGTERM)
        await it.all_back(had)
        judged(await it.end(), recovered=had)


async def test_rolling_deploy(seed: int) -> None:
    """Every io-node leaves once, one after the other."""
    async with scene(seed, "recovery, all io-nodes replaced") as it:
        for victim in list(it.stack.io_nodes):
            old = victim.pid
            victim.process.signal(signal.SIGTERM)
            await it.restarted(victim, old)
            await asyncio.sleep(2.0)
            await it.all_back(0)
        judged(await it.end(), recovered=CLIENTS)


async def test_pause_until_lost(seed: int) -> None:
    async with scene(seed, "recovery, io-node paused until lost") as it:
        victim = it.rng.choice(it.stack.io_nodes)
        had = it.at_home(victim)
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(NODE_TIMEOUT_S + 3)
        finally:
            os.kill(victim.pid, signal.SIGCONT)
        await it.all_back(had)
        judged(await it.end(), recovered=had)


async def test_kill_who_took_over(seed: int) -> None:
    """Two kills within the window: the second one hits whoever adopted clients of the first."""
    async with scene(seed, "recovery, who took over is killed") as it:
        first, second, _ = it.rng.sample(it.stack.io_nodes, 3)
        had = it.kill(first)
        await it.all_back(had)
        it.kill(second)
        await it.all_back(had + 1)
        judged(await it.end(), recovered=had)


async def test_kill_an_app_node_too(seed: int) -> None:
    async with scene(seed, "recovery, an app-node is killed too") as it:
        had = it.kill(it.rng.choice(it.stack.io_nodes))
        os.kill(it.rng.choice(it.stack.app_nodes).pid, signal.SIGKILL)
        await it.all_back(had)
        judged(await it.end(), recovered=had)


async def test_redis_stalls(seed: int) -> None:
    async with scene(seed, "recovery, Redis stalls") as it:
        had = it.kill(it.rng.choice(it.stack.io_nodes))
        it.valkey.pause()
        await asyncio.sleep(5.0)
        it.valkey.resume()
        await it.all_back(had)
        judged(await it.end(), recovered=had)


async def test_dropped_five_times(seed: int) -> None:
    """All connections break at once, five times, and the io-nodes live."""
    async with scene(seed, "recovery, dropped five times") as it:
        for turn in range(1, 6):
            await it.order(b"drop")
            await it.all_back(CLIENTS * turn)
        judged(await it.end(), recovered=5 * CLIENTS)
