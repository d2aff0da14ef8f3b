"""What a scenario acts on: a Redis server, a cluster, and clients of three kinds that work all the while.

    async with field("app-node killed", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        it.kill(it.stack.app_nodes[0])
        await it.calm(20)
        verdict = await it.end(redelivered=True, gap_s=3)

A scenario draws what and when from `it.rng`, so that the same seed repeats it.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError
from tests.chaos import balance, evidence, records
from tests.chaos.checker import (
    Allowed,
    Verdict,
    broken_promises,
    judge,
    missed_limits,
    needless_repetitions,
    with_lost_leases,
)
from tests.chaos.crowd import Crowd, Member
from tests.chaos.limits import Missed, check
from tests.chaos.pace import pace_now
from tests.chaos.proxy import Proxy
from tests.conftest import ROOT

from sio_cluster.testing.http import http_client
from sio_cluster.testing.valkey import Valkey, start_valkey
from sio_stack import Stack
from sio_stack.settings import free_ports
from sio_stack.stack import Node

RESULTS = ROOT / ".run/chaos"
written: list[Path] = []
"""The results that this process has written, for whoever shows them."""
APP = str(ROOT / "tests/chaos/app.py") + ":sio"
LEASE_S, NODE_TIMEOUT_S = 1.5, 3.0
ENV = {
    "LEASE_MS": str(int(LEASE_S * 1000)),
    "HEARTBEAT_MS": "300",
    "NODE_TIMEOUT_MS": str(int(NODE_TIMEOUT_S * 1000)),
    "DRAIN_MS": "1000",
    "SHUTDOWN_MS": "5000",
    "LOG_FORMAT": "json",
    "RECOVERY_WINDOW_MS": "0",  # whoever comes back is a new client; tests/chaos/test_recovery.py has the others
}
WEBSOCKETS, POLLERS, RATE = 180, 20, 10.0
HUSH = "hush"
"""The application sends no more news once a file of this name is among the records."""
OFFICIAL = 6  # of each kind; their rate is OFFICIAL_RATE
OFFICIAL_RATE = 5.0
LEAST_PART = 0.5
"""A scenario fails where clients send, or receive, less than this part of what they mean to before its fault."""
SPIKE_MS = 100
"""What takes Redis at least so long is told where a limit of time is missed."""
JS_FIRST, PYTHON_FIRST = 10_000, 20_000


class Official:
    """A process with official clients, JavaScript or Python. `rate`: events a second of all together."""

    rate = OFFICIAL * OFFICIAL_RATE

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name

    @classmethod
    @asynccontextmanager
    async def started(cls, argv: list[str], url: str, directory: Path, first: int) -> AsyncIterator["Official"]:
        path = directory / f"clients-{first}.txt"
        process = await asyncio.create_subprocess_exec(
            *argv, url, str(path), str(first), str(OFFICIAL), str(OFFICIAL_RATE),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        official = cls(process, argv[-1])
        try:
            yield official
        finally:
            if process.returncode is None:
                assert process.stdin is not None
                process.stdin.close()  # asyncio waits for the pipe, too
                process.kill()
            await process.wait()

    async def all_in(self) -> None:
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            line = await self._process.stdout.readline()
        assert line.strip() == b"in", f"{self._name} could not connect"

    async def stop_sending(self) -> None:
        await self._order(b"stop\n")

    async def leave(self) -> None:
        await self._order(b"leave\n")
        async with asyncio.timeout(10):
            await self._process.wait()

    async def _order(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        await self._process.stdin.drain()


class Field:
    """The parts of one scenario, and what may be done to them."""

    def __init__(
        self,
        name: str,
        seed: int,
        directory: Path,
        valkey: Valkey,
        stack: Stack,
        crowd: Crowd,
        officials: list[Official],
        machine: evidence.Machine,
    ) -> None:
        self.name = name
        self.seed = seed
        self.rng = random.Random(f"{seed}/{name}")
        self.directory = directory
        self.valkey = valkey
        self.stack = stack
        self.crowd = crowd
        self.restarts = 0
        self.began = records.now_us()
        self.first_fault = 0
        self.rates: dict[str, float] = {}
        self.crashed: dict[int, tuple[int, int]] = {}  # process -> from when to when it was in trouble
        self.resumed: dict[int, int] = {}  # process -> when it went on
        self.proxies: dict[str, Proxy] = {}
        self.lines: list[tuple[str, str]] = []
        self._officials = officials
        self._machine = machine
        self._records = records.Records()
        self._redis_said = ""
        self._ran_out: list[Missed] = []
        self.leases_lost: list[tuple[int, int]] = []  # when, and by which process

    async def wait_a_moment(self) -> None:
        """Waits until each client was served 5 to 15 times more. The fault comes after that."""
        await self.crowd.progress(self.rng.randint(5, 15), 30)
        self.first_fault = self.first_fault or records.now_us()

    def kill(self, node: Node) -> None:
        """Kills it with -9. The stack starts it again."""
        self.in_trouble(node)
        self.restarts += 1
        os.kill(node.pid, signal.SIGKILL)

    def pause(self, node: Node) -> None:
        self.in_trouble(node)
        os.kill(node.pid, signal.SIGSTOP)

    def resume(self, node: Node) -> None:
        self.resumed[node.pid] = records.now_us()
        os.kill(node.pid, signal.SIGCONT)

    def in_trouble(self, *nodes: Node) -> None:
        """From now on these nodes may lose their leases, so that unfinished events are handled again."""
        self.crashed |= {node.pid: (records.now_us(), 1 << 62) for node in nodes}

    async def calm(self, events: int) -> None:
        """Waits until each client was served that often. What happens after that may not be handled again."""
        await self.crowd.progress(events, 60)
        now = records.now_us()
        self.crashed = {process: (since, min(to, now)) for process, (since, to) in self.crashed.items()}

    def logged(self, event: str, node: str = "") -> list[dict[str, Any]]:
        """The log lines of that event (of that node) so far."""
        found = []
        for name, line in self.lines:
            if event in line and (not node or name == node):
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if entry.get("event") == event:
                    found.append(entry)
        return found

    async def until_logged(self, event: str, node: str = "", *, within_s: float, times: int = 1) -> None:
        await until(lambda: _now(len(self.logged(event, node)) >= times), within_s, f"{event} was not logged")

    async def ready(self, node: Node) -> bool:
        """Whether its /readyz says so now. No answer means no."""
        try:
            async with http_client(timeout=2) as http:
                return (await http.get(f"{node.url}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def until_serves_anew(self, node: Node, old: int, within_s: float) -> None:
        """Waits until the stack has started it again and it is ready. `old` is its former process id."""

        async def serves() -> bool:
            return node.pid not in (0, old) and await self.ready(node)

        await until(serves, within_s, f"{node.name} did not serve again")

    async def until_ready(self, node: Node, expected: bool, within_s: float) -> float:
        """Waits until it is ready, or is not. Returns the seconds that it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await until(
            lambda: self._is(node, expected), within_s, f"{node.name} is not {'ready' if expected else 'unready'}"
        )
        return loop.time() - began

    async def _is(self, node: Node, ready: bool) -> bool:
        return await self.ready(node) is ready

    async def metrics(self, node: Node) -> balance.Sample:
        return await balance.scrape(node.url)

    def members_of(self, node: Node) -> list[Member]:
        """The light clients that are on this io-node now."""
        return [member for member in self.crowd.members if member.sid.startswith(f"{node.name}-")]

    async def keys_of(self, node_id: str) -> list[str]:
        """The keys in Redis that belong to a node and its clients."""
        redis = Redis.from_url(self.valkey.url)
        try:
            return sorted([key.decode() async for key in redis.scan_iter(match=f"*{node_id}*", count=1000)])
        finally:
            await redis.aclose()

    async def tell_redis(self, *command: str | int) -> Any:
        redis = Redis.from_url(self.valkey.url)
        try:
            return await redis.execute_command(*command)
        finally:
            await redis.aclose()

    async def end(
        self, *, answered_within_s: float = 20, balanced: balance.Scope | None = None, **allowed: Any
    ) -> Verdict:
        """Ends the sending, waits for the answers, lets all clients leave, then judges.

        Raises AssertionError where a promise is broken, TooSlow where only limits of time are missed. `allowed` are
        the fields of `Allowed`.
        """
        verdict = await self.judge(answered_within_s=answered_within_s, balanced=balanced, **allowed)
        permitted = Allowed(crashed=self.crashed, resumed=self.resumed, **allowed)
        problems = broken_promises(verdict, permitted)
        missed = [*missed_limits(verdict, permitted), *self._too_little(), *self._ran_out]
        repetitions = needless_repetitions(verdict, permitted)
        if repetitions and not self._ran_out:
            problems.append(repetitions)
        self._write(verdict, [*problems, *map(str, missed)])
        told = evidence.told(self._records, self._machine, self._redis_said, self.lines) if missed else []
        check(f"{self.name}, CHAOS_SEED={self.seed}", problems, missed, told)
        return verdict

    async def judge(
        self, *, answered_within_s: float = 20, balanced: balance.Scope | None = None, **allowed: Any
    ) -> Verdict:
        """As `end`, but returns what is wrong instead of raising it."""
        for official in self._officials:
            await official.stop_sending()
        await self.crowd.finish(answered_within_s)
        (self.directory / HUSH).touch()
        await self._echoes()
        if balanced:
            await balance.check(self.stack, records.read(self.directory), balanced, beside=self.crowd.beside)
        self.crowd.leave()
        for official in self._officials:
            await official.leave()
        await self._disconnects()
        await self._ask_redis()
        await self.stack.stop()
        crashed = with_lost_leases(self.crashed, self.leases_lost)
        self._ran_out = [Missed("a lease ran out, though nothing had happened")] if crashed != self.crashed else []
        self.crashed = crashed
        found = self._records = records.read(self.directory)
        self._measure(found)
        return judge(found, Allowed(crashed=self.crashed, resumed=self.resumed, **allowed))

    async def _ask_redis(self) -> None:
        """Notes what took Redis long since it was last started."""
        with suppress(RedisError, OSError):
            spikes = await self.tell_redis("LATENCY", "LATEST")
            named = ", ".join(f"{what.decode()} {longest} ms" for what, _, _, longest, *_ in spikes)
            self._redis_said = f"what took Redis longest: {named or f'nothing as long as {SPIKE_MS} ms'}"

    def _measure(self, found: records.Records) -> None:
        """Sets `rates`: events and emits a second before the first fault."""
        if self.first_fault:
            seconds = (self.first_fault - self.began) / 1e6
            ways: dict[str, list[Any]] = {"sent": found.sent, "received": [*found.seen, *found.heard]}
            for way, lines in ways.items():
                self.rates[way] = sum(self.began <= one.at < self.first_fault for one in lines) / seconds

    def _too_little(self) -> list[Missed]:
        """The rates that are too low."""
        meant = self.crowd.rate + sum(official.rate for official in self._officials)
        return [
            Missed(f"load: {rate:.0f} a second {way}, where {meant:.0f} are meant")
            for way, rate in self.rates.items() if rate < LEAST_PART * meant
        ]  # fmt: skip

    async def _echoes(self) -> None:
        """Gives the last news a second to arrive. Little else can be under way: `down` leaves before the ack of its
        event."""
        await asyncio.sleep(1.0)

    async def _disconnects(self) -> None:
        """Waits until the application knows that all are gone, for a bounded time. The checker says who is missing."""
        sids = records.joined(self.directory)
        with suppress(AssertionError):
            all_gone = lambda: _now(sids <= records.disconnected(self.directory))  # noqa: E731
            await until(all_gone, NODE_TIMEOUT_S + 7, "", every_s=0.2)

    def _write(self, verdict: Verdict, problems: list[str]) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        row = {
            "scenario": self.name, "seed": self.seed, "restarts": self.restarts, "problems": problems,
            "rates": self.rates, "pace": self.crowd.pace,
        }  # fmt: skip
        path = RESULTS / f"{self.name.replace(' ', '-')}.json"
        path.write_text(json.dumps(row | asdict(verdict), indent=1))
        written.append(path)

    def keep(self) -> None:
        """Saves the records and logs of a scenario that failed, to look at."""
        kept = RESULTS / f"failed-{self.name.replace(' ', '-')}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.directory, kept)
        (kept / "log.txt").write_text("\n".join(f"{name}: {line}" for name, line in self.lines))
        print(f"\n{self.name}: records and logs are in {kept.relative_to(ROOT)}, CHAOS_SEED={self.seed}")


@asynccontextmanager
async def field(
    name: str,
    seed: int,
    *,
    io_nodes: int = 2,
    app_nodes: int = 1,
    app: str = APP,
    env: Mapping[str, str] | None = None,
    app_envs: list[Mapping[str, str]] | None = None,
    io_envs: list[Mapping[str, str]] | None = None,
    proxied: tuple[str, ...] = (),
    redis: Mapping[str, str] | None = None,
    websockets: int = WEBSOCKETS,
    pollers: int = POLLERS,
    rate: float = RATE,
    paced: bool = True,
    official: bool = True,
) -> AsyncIterator[Field]:
    """Starts everything, and stops it at the end.

    `proxied`: for "app" or "io", one more node of that kind, behind a proxy of its own to Redis; for "all", every
    node is behind one proxy. `redis`: options of the server, which has an append-only file by default.
    """
    directory = Path(tempfile.mkdtemp(prefix="sio-chaos-"))
    options = {
        "appendonly": "yes",
        "appendfsync": "no",  # what is written outlives a kill -9 all the same; the disk is not what is tried here
        "maxmemory_policy": "noeviction",
        "latency_monitor_threshold": str(SPIKE_MS),
    } | dict(redis or {})
    lines: list[tuple[str, str]] = []
    leases_lost: list[tuple[int, int]] = []

    def hear(name: str, line: str) -> None:
        lines.append((name, line))
        if '"lane_lost"' in line:
            leases_lost.extend((records.now_us(), node.pid) for node in stack.app_nodes if node.name == name)

    async with AsyncExitStack() as exits:
        exits.callback(shutil.rmtree, directory, ignore_errors=True)
        valkey = exits.enter_context(start_valkey(free_ports(1)[0], **options))
        proxies = {kind: await exits.enter_async_context(Proxy(valkey.port, seed=seed)) for kind in proxied}
        redis_url = proxies["all"].redis_url if "all" in proxies else valkey.url
        stack = await exits.enter_async_context(
            Stack(
                io_nodes=io_nodes, app_nodes=app_nodes, app=app, port=0, redis_url=redis_url,
                env={**ENV, "CHAOS_RECORDS": str(directory), **(env or {})},
                on_line=hear,
            )
        )  # fmt: skip
        for own in [*(io_envs or []), *([{"REDIS_URL": proxies["io"].redis_url}] if "io" in proxies else [])]:
            await stack.add_io_node(own)
        for own in [*(app_envs or []), *([{"REDIS_URL": proxies["app"].redis_url}] if "app" in proxies else [])]:
            await stack.start_app_node(own)
        officials = [
            await exits.enter_async_context(Official.started(argv, stack.url, directory, first))
            for argv, first in _officials() if official
        ]  # fmt: skip
        for group in officials:  # they start slowly: the crowd need not send meanwhile
            await group.all_in()
        crowd = Crowd(
            stack.url, directory, websockets=websockets, pollers=pollers, rate=rate, seed=seed,
            pace=pace_now() if paced else 1.0,
        )  # fmt: skip
        await exits.enter_async_context(crowd)
        if paced:
            await crowd.settle()
        machine = await exits.enter_async_context(evidence.watched())
        it = Field(name, seed, directory, valkey, stack, crowd, officials, machine)
        it.proxies = proxies
        it.lines = lines
        it.leases_lost = leases_lost
        try:
            yield it
        except BaseException:
            it.keep()
            raise


async def until(condition: Callable[[], Awaitable[bool]], within_s: float, else_: str, every_s: float = 0.05) -> None:
    """Polls a condition of another process, which cannot tell when it changes: files, answers, logs."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"{else_} within {within_s:g} s"
        await asyncio.sleep(every_s)


async def _now(value: bool) -> bool:
    return value


def _officials() -> list[tuple[list[str], int]]:
    node = Path(sys.executable).parent / "node"
    here = ROOT / "tests/chaos"
    return [
        ([str(node) if node.exists() else "node", str(here / "js/crowd.mjs")], JS_FIRST),
        ([sys.executable, str(here / "python_clients.py")], PYTHON_FIRST),
    ]
