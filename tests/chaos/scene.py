"""What a scenario of connection state recovery acts on: a cluster whose application emits numbered streams
(recovery_app.py), and stock JavaScript clients (js/recovery.mjs), judged by `tests.chaos.streams`.

    async with scene("recovery, io-node killed", seed) as it:
        had = it.kill(it.rng.choice(it.stack.io_nodes))
        await it.all_back(had)
        await it.end(recovered=had)

The environment makes it bigger: CHAOS_RECOVERY_CLIENTS, CHAOS_RECOVERY_EMITS (a second, of all app-nodes together), and
CHAOS_RECOVERY_ROUNDS, how often a scenario that repeats itself does so.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.chaos import balance, evidence, records, streams
from tests.chaos.cluster import Cluster, cluster, node_js, serves_anew
from tests.chaos.leftovers import FORGOTTEN_S, left_at_last
from tests.chaos.limits import HOPELESS_S, Missed, check
from tests.chaos.official import Official
from tests.chaos.pace import pace_now
from tests.chaos.rooms import disagreements
from tests.conftest import ROOT

from sio_cluster.node.settings.config import Config
from sio_stack.stack import Node

APP = str(ROOT / "tests/chaos/recovery_app.py") + ":sio"
CLIENTS = int(os.environ.get("CHAOS_RECOVERY_CLIENTS", "200"))
EMITS = float(os.environ.get("CHAOS_RECOVERY_EMITS", "1000"))
ROUNDS = int(os.environ.get("CHAOS_RECOVERY_ROUNDS", "3"))
ROOMS = CLIENTS // 5
FEW, POURED = 4, 1_000
"""So many clients are told so many long messages by each app-node, once there is a file `pour`."""
A_PROCESS = 500
"""So many clients are in one process of Node.js at most."""
WINDOW_S = 120.0
BACK_S = 25.0 + CLIENTS / 200
"""When all must be back. A machine that is busy may take HOPELESS_S more, and is told of."""
PING_INTERVAL_S, PING_TIMEOUT_S = 4.0, 14.0
"""How often clients are asked whether they are there, and how long they have to answer. Together it is less than
BACK_S: a client may notice by this alone that its connection is gone. 200 clients share one process, which may have to
wait for a processor for seconds."""
IN_S = 60.0 + CLIENTS / 20
QUIET_S = 4.0
"""Longer than a client reads nothing (js/recovery.mjs)."""
_TIMES = ("LEASE_MS", "HEARTBEAT_MS", "NODE_TIMEOUT_MS", "DRAIN_MS")
USUAL = {name: str(getattr(Config(), name.lower())) for name in _TIMES} if CLIENTS > 1000 else {}
"""With so many clients the nodes have the usual times, and not the short ones of this suite."""
LIMIT_S = 150.0 + 30 * ROUNDS + CLIENTS / 10
"""For one scenario."""


class Connections:
    """Which clients are connected, from what they write. It reads on from where it was."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}
        self.sids: dict[int, str] = {}
        """The newest sid of each client."""
        self.connected: set[int] = set()
        self.broken = 0
        """How many connections broke so far."""

    def look(self) -> None:
        for path in self._directory.glob("clients-*.txt"):
            for letter, client, sid in self._new(path):
                if letter == "o":
                    self.sids[client] = sid
                    self.connected.add(client)
                else:
                    self.connected.discard(client)
                    self.broken += 1

    def _new(self, path: Path) -> Iterator[tuple[str, int, str]]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(whole)
        for line in whole.splitlines():
            if line[:1] in b"op":
                letter, _, client, sid, *_ = line.decode().split()
                yield letter, int(client), sid


def ended_early(directory: Path) -> list[Missed]:
    """Connections that ended before anything was done: clients had to wait for a processor for too long.

    Some of them did not know their session yet. Nobody comes back to it, and it stays in its rooms for the window.
    """
    told = streams.disconnects(directory)
    return [Missed(f"{len(told)} connections ended before anything was done, as {told[0]}")] if told else []


class Scene:
    """A cluster with clients, and what may be done to them."""

    def __init__(self, its: Cluster, clients: list[Official], *, window_s: float, notice: str, pace: float) -> None:
        self.stack = its.stack
        self.valkey = its.valkey
        self.rng = its.rng
        self.directory = its.directory
        self.pace = pace
        self.clients = clients
        self.gone: set[int] = set()
        """Clients that do not mean to come back."""
        self.left_at = 0
        """When the clients were told to leave, in µs."""
        self._cluster = its
        self._window_s = window_s
        self._notice = notice
        self._connections = Connections(its.directory)
        self._missed: list[Missed] = []
        self._disagreements: list[str] = []
        self._left_over: list[str] = []

    async def order(self, words: str) -> None:
        """Tells all clients: see js/recovery.mjs."""
        for process in self.clients:
            await process.order(words)

    def kill(self, node: Node) -> int:
        """Kills it with -9. The stack starts it again. Returns how many clients had it for their home."""
        had = self.at_home(node)
        os.kill(node.pid, signal.SIGKILL)
        return had

    def at_home(self, node: Node) -> int:
        """How many clients have this node for their home, in any of its lives."""
        self._connections.look()
        return sum(sid.startswith(f"{node.name}-") for sid in self._connections.sids.values())

    @property
    def broken(self) -> int:
        """How many connections broke so far."""
        self._connections.look()
        return self._connections.broken

    async def all_back(self, broken: int) -> None:
        """Waits until all clients are connected, after at least so many connections broke."""
        expected = set(range(CLIENTS)) - self.gone
        its = self._connections

        def else_() -> str:
            away = sorted(expected - its.connected)
            examples = [(client, its.sids.get(client)) for client in away[:5]]
            return f"{self.broken} connections broke, of {broken}, and {len(away)} clients are away, as {examples}"

        await self.until(lambda: self.broken >= broken and expected <= its.connected, BACK_S, else_)
        await self._all_held(len(expected))

    async def _all_held(self, expected: int) -> None:
        """Waits until the io-nodes hold so many clients.

        A client whose io-node is killed while it changes from polling to WebSocket notices that by its ping time-out
        only: the JavaScript client has stopped polling by then, and the WebSocket is not yet its own. Until then it
        believes that it is connected.
        """
        held = 0

        async def all_are() -> bool:
            nonlocal held
            samples = await asyncio.gather(
                *(balance.scrape(node.url) for node in self.stack.io_nodes), return_exceptions=True
            )
            held = sum(round(one.total("sio_io_clients")) for one in samples if isinstance(one, balance.Sample))
            return held >= expected

        loop = asyncio.get_running_loop()
        due = loop.time() + PING_INTERVAL_S + PING_TIMEOUT_S + HOPELESS_S
        while not await all_are():
            assert loop.time() < due, f"io-nodes hold {held} clients, of {expected}"
            await asyncio.sleep(0.2)

    async def until(self, condition: Callable[[], bool], within_s: float, else_: Callable[[], str]) -> None:
        """Waits for it. A limit that is missed by little counts at the end, if nothing else is wrong."""
        loop = asyncio.get_running_loop()
        due = loop.time() + within_s
        while not condition():
            assert loop.time() < due + HOPELESS_S, f"within {within_s + HOPELESS_S:g} s: {else_()}"
            await asyncio.sleep(0.1)
        if (over_s := loop.time() - due) > 0:
            self._missed.append(Missed(f"{over_s:.1f} s after the limit of {within_s:g} s all was well", over_s))

    async def restarted(self, node: Node, old: int) -> None:
        """Waits until the stack has started it again, and it takes clients. `old` is its former process id."""
        await serves_anew(node, old, 20 + HOPELESS_S)

    async def replayed(self) -> list[float]:
        """How many messages each io-node has given to clients that had missed them."""
        samples = await asyncio.gather(*(balance.scrape(node.url) for node in self.stack.io_nodes))
        return [sample.total("sio_io_messages_replayed_total") for sample in samples]

    async def end(self, *, recovered: int) -> streams.Seen:
        """Lets what is under way arrive, lets all clients leave, and judges.

        Raises AssertionError where a promise is broken, TooSlow where only a limit of time is missed. `recovered`: how
        many sessions must have been given back at least.
        """
        await asyncio.sleep(1.0)
        (self.directory / "hush").touch()
        await self._all_arrived()
        rooms = ["all", "few", *(f"room{number}" for number in range(ROOMS))]
        self._disagreements = await disagreements(self.valkey.url, self.directory, rooms)
        self.left_at = records.now_us()
        for process in self.clients:
            await process.leave(20 + HOPELESS_S)
        await asyncio.sleep(1.0)
        self._left_over = await left_at_last(self.valkey.url, FORGOTTEN_S + HOPELESS_S)
        redis = await self._cluster.slowest_in_redis()
        await self.stack.stop()
        seen = streams.look(
            self.directory, skipped_below=ROOMS, window_s=self._window_s, notice=self._notice, gone=self.gone
        )
        self._judge(seen, recovered, redis)
        return seen

    async def _all_arrived(self) -> None:
        """Waits until clients have written nothing for QUIET_S: some may be given back much."""
        loop = asyncio.get_running_loop()
        size, since = -1, loop.time()

        def is_quiet() -> bool:
            nonlocal size, since
            now = sum(path.stat().st_size for path in self.directory.glob("clients-*.txt"))
            if now != size:
                size, since = now, loop.time()
            return loop.time() - since >= QUIET_S

        await self.until(is_quiet, BACK_S, lambda: "clients still get messages")

    def _judge(self, seen: streams.Seen, recovered: int, redis: str) -> None:
        problems = streams.faults(seen)
        if self._disagreements:
            problems.append(f"disagreements on rooms: {len(self._disagreements)}, as {self._disagreements[:5]}")
        if self._left_over:
            problems.append(f"keys left over: {len(self._left_over)}, as {self._left_over[:5]}")
        missed = list(self._missed)
        if seen.clients != CLIENTS:
            problems.append(f"{seen.clients} clients wrote something down, of {CLIENTS}")
        if seen.late:
            missed.append(Missed(f"{seen.late} clients were away for longer than the window of {self._window_s:g} s"))
        elif seen.recovered < recovered:
            problems.append(f"{seen.recovered} sessions were given back, where {recovered} are expected")
        if seen.messages <= 10 * self.pace * CLIENTS:
            missed.append(Missed(f"only {seen.messages} messages"))
        self._write(seen, [*problems, *map(str, missed)])
        told: list[str] = []
        if problems or missed:
            longest = seen.longest
            told.append(f"client {longest.client} was away longest, for {(longest.to - longest.since) / 1e6:.1f} s")
            first = min((fault for faults in seen.found.values() for fault in faults), default=None)
            since, to = (first.since, first.to) if first else longest[1:]
            told += [f"around {first.what if first else 'that'}:"]
            told += evidence.around(self._cluster.machine, redis, self._cluster.lines, since, to)
        check(f"{self._cluster.name}, CHAOS_SEED={self._cluster.seed}", problems, missed, told)

    def _write(self, seen: streams.Seen, problems: list[str]) -> None:
        aways = sorted(away.to - away.since for away in seen.aways) or [0]
        counted = ("clients", "emits", "seconds", "messages", "broken", "recovered", *streams.FAULTS)
        row = {name: getattr(seen, name) for name in counted}
        times = {"away_p50_ms": aways[len(aways) // 2] / 1e3, "away_max_ms": aways[-1] / 1e3}
        self._cluster.write("recovery", {"problems": problems, "pace": self.pace, **row, **times})


@asynccontextmanager
async def scene(
    name: str,
    seed: int,
    *,
    io_nodes: int = 3,
    app_nodes: int = 2,
    window_s: float = WINDOW_S,
    notice: str = "now",
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Scene]:
    """Starts everything, waits until all clients are in and get messages, and stops it at the end."""
    pace = pace_now()
    own = {
        "CHAOS_ROOMS": str(ROOMS), "CHAOS_FEW": str(FEW), "CHAOS_POURED": str(POURED),
        "CHAOS_EMITS": str(EMITS * pace / app_nodes),
        "RECOVERY_WINDOW_MS": str(round(window_s * 1000)), "RECOVERY_NOTICE": notice, **USUAL,
        "PING_INTERVAL_MS": str(round(PING_INTERVAL_S * 1000)), "PING_TIMEOUT_MS": str(round(PING_TIMEOUT_S * 1000)),
        **(env or {}),
    }  # fmt: skip
    async with (
        cluster(name, seed, io_nodes=io_nodes, app_nodes=app_nodes, app=APP, env=own) as its,
        AsyncExitStack() as exits,
    ):
        clients = [
            await exits.enter_async_context(
                Official.started(
                    [node_js(), str(ROOT / "tests/chaos/js/recovery.mjs")],
                    its.stack.url, its.directory, first, min(A_PROCESS, CLIENTS - first),
                )
            )
            for first in range(0, CLIENTS, A_PROCESS)
        ]  # fmt: skip
        for process in clients:
            await process.all_in(IN_S)
        await asyncio.sleep(1.0)
        check(f"{name}, CHAOS_SEED={seed}", [], ended_early(its.directory))
        yield Scene(its, clients, window_s=window_s, notice=notice, pace=pace)
