"""What a scenario acts on: a Redis server, a cluster, and clients of three kinds that work all the while.

    async with field("app-node killed", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        it.kill(it.stack.app_nodes[0])
        await it.calm(20)
        verdict = await it.end(redelivered=True, gap_s=3)

A scenario draws what and when from `it.rng`, so that the same seed repeats it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

from tests.chaos import balance, evidence, records
from tests.chaos.checker import (
    Allowed,
    Asked,
    Verdict,
    broken_promises,
    check_answers,
    judge,
    missed_limits,
    needless_repetitions,
    with_lost_leases,
)
from tests.chaos.cluster import NODE_TIMEOUT_S, Cluster, cluster, node_js, ready, serves_anew, until
from tests.chaos.crowd import Crowd, Member
from tests.chaos.leftovers import FORGOTTEN_S, left_at_last
from tests.chaos.limits import Missed, check
from tests.chaos.official import Official
from tests.chaos.pace import pace_now
from tests.chaos.rooms import AGREED_S, disagreements
from tests.conftest import ROOT

from sio_stack.stack import Node

APP = str(ROOT / "tests/chaos/app.py") + ":sio"
WEBSOCKETS, POLLERS, RATE = 180, 20, 10.0
HUSH = "hush"
"""The application sends no more news once a file of this name is among the records."""
OFFICIAL = 6  # of each kind; their rate is OFFICIAL_RATE
OFFICIAL_RATE = 5.0
LEAST_PART = 0.5
"""A scenario fails where clients send, or receive, less than this part of what they mean to before its fault."""
JS_FIRST, PYTHON_FIRST = 10_000, 20_000
DISCONNECTED_S = NODE_TIMEOUT_S + 7
"""When the application must know of all clients that they are gone."""


class Field:
    """The parts of one scenario, and what may be done to them."""

    def __init__(self, cluster: Cluster, crowd: Crowd, officials: list[Official], *, inspected: bool) -> None:
        self.name = cluster.name
        self.seed = cluster.seed
        self.rng = cluster.rng
        self.directory = cluster.directory
        self.valkey = cluster.valkey
        self.stack = cluster.stack
        self.proxies = cluster.proxies
        self.lines = cluster.lines
        self.crowd = crowd
        self.guests: list[Crowd] = []
        """Crowds that came later, and stay to the end: they are waited for, and leave, with the others."""
        self.restarts = 0
        self.began = records.now_us()
        self.first_fault = 0
        self.rates: dict[str, float] = {}
        self.asked = Asked()
        """How the app-nodes' questions were answered, where they ask (CHAOS_ASKS)."""
        self.crashed: dict[int, tuple[int, int]] = {}  # process -> from when to when it was in trouble
        self.resumed: dict[int, int] = {}  # process -> when it went on
        self.disagreements: list[str] = []
        """Where those who know who is in which room differed at the end."""
        self.left_over: list[str] = []
        """Keys that were in Redis when all clients had gone, and should not."""
        self._inspected = inspected
        self._cluster = cluster
        self._officials = officials
        self._records = records.Records()
        self._redis_said = ""
        self._ran_out: list[Missed] = []

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
        return self._cluster.logged(event, node)

    async def until_logged(self, event: str, node: str = "", *, within_s: float, times: int = 1) -> None:
        await until(lambda: _now(len(self.logged(event, node)) >= times), within_s, f"{event} was not logged")

    async def until_serves_anew(self, node: Node, old: int, within_s: float) -> None:
        """Waits until the stack has started it again and it is ready. `old` is its former process id."""
        await serves_anew(node, old, within_s)

    async def until_ready(self, node: Node, expected: bool, within_s: float) -> float:
        """Waits until it is ready, or is not. Returns the seconds that it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await until(lambda: _is(node, expected), within_s, f"{node.name} is not {'ready' if expected else 'unready'}")
        return loop.time() - began

    async def metrics(self, node: Node) -> balance.Sample:
        return await balance.scrape(node.url)

    def members_of(self, node: Node) -> list[Member]:
        """The light clients that are on this io-node now."""
        return [member for member in self.crowd.members if member.sid.startswith(f"{node.name}-")]

    async def tell_redis(self, *command: str | int) -> Any:
        return await self._cluster.tell_redis(*command)

    async def end(
        self, *, answered_within_s: float = 20, balanced: balance.Scope | None = None, **allowed: Any
    ) -> Verdict:
        """Ends the sending, waits for the answers, lets all clients leave, then judges.

        Raises AssertionError where a promise is broken, TooSlow where only limits of time are missed. `allowed` are
        the fields of `Allowed`.
        """
        verdict = await self.judge(answered_within_s=answered_within_s, balanced=balanced, **allowed)
        late_s = self._cluster.machine.late_s(self.began)
        permitted = Allowed(crashed=self.crashed, resumed=self.resumed, late_s=late_s, **allowed)
        problems = [*broken_promises(verdict, permitted), *self.asked.problems()]
        problems += [*_first("disagreements on rooms", self.disagreements), *_first("keys left over", self.left_over)]
        missed = [*missed_limits(verdict, permitted), *self._too_little(), *self._ran_out]
        repetitions = needless_repetitions(verdict, permitted)
        if repetitions and not self._ran_out:
            problems.append(repetitions)
        self._write(verdict, [*problems, *map(str, missed)])
        told = evidence.told(self._records, self._cluster.machine, self._redis_said, self.lines) if missed else []
        check(f"{self.name}, CHAOS_SEED={self.seed}", problems, missed, told)
        return verdict

    async def judge(
        self,
        *,
        answered_within_s: float = 20,
        disconnected_within_s: float = DISCONNECTED_S,
        agreed_within_s: float = AGREED_S,
        balanced: balance.Scope | None = None,
        **allowed: Any,
    ) -> Verdict:
        """As `end`, but returns what is wrong instead of raising it."""
        for official in self._officials:
            await official.order("stop")
        crowds = [self.crowd, *self.guests]
        await asyncio.gather(*(crowd.finish(answered_within_s) for crowd in crowds))
        (self.directory / HUSH).touch()
        await self._echoes()
        if balanced:
            await balance.check(self.stack, self.directory, balanced, beside=sum(crowd.beside for crowd in crowds))
        if self._inspected:
            self.disagreements = await disagreements(self.valkey.url, self.directory, within_s=agreed_within_s)
        for crowd in crowds:
            crowd.leave()
        for official in self._officials:
            await official.leave()
        await self._disconnects(disconnected_within_s)
        if self._inspected:
            self.left_over = await left_at_last(self.valkey.url, FORGOTTEN_S)
        self._redis_said = await self._cluster.slowest_in_redis()
        await self.stack.stop()
        crashed = with_lost_leases(self.crashed, self._cluster.leases_lost)
        self._ran_out = [Missed("a lease ran out, though nothing had happened")] if crashed != self.crashed else []
        self.crashed = crashed
        found = self._records = records.read(self.directory)
        self._measure(found)
        self.asked = check_answers(found)
        return judge(found, Allowed(crashed=self.crashed, resumed=self.resumed, **allowed))

    def _measure(self, found: records.Records) -> None:
        """Sets `rates`: events and emits a second before the first fault."""
        if self.first_fault:
            seconds = (self.first_fault - self.began) / 1e6
            ways: dict[str, list[Any]] = {"sent": found.sent, "received": [*found.seen, *found.heard]}
            for way, lines in ways.items():
                self.rates[way] = sum(self.began <= one.at < self.first_fault for one in lines) / seconds

    def _too_little(self) -> list[Missed]:
        """The rates that are too low."""
        meant = self.crowd.rate + len(self._officials) * OFFICIAL * OFFICIAL_RATE
        return [
            Missed(f"load: {rate:.0f} a second {way}, where {meant:.0f} are meant")
            for way, rate in self.rates.items() if rate < LEAST_PART * meant
        ]  # fmt: skip

    async def _echoes(self) -> None:
        """Gives the last news a second to arrive. Little else can be under way: `down` leaves before the ack of its
        event."""
        await asyncio.sleep(1.0)

    async def _disconnects(self, within_s: float) -> None:
        """Waits until the application knows that all are gone, for a bounded time. The checker says who is missing."""
        sids = records.joined(self.directory)
        with suppress(AssertionError):
            all_gone = lambda: _now(sids <= records.disconnected(self.directory))  # noqa: E731
            await until(all_gone, within_s, "", every_s=0.2)

    def _write(self, verdict: Verdict, problems: list[str]) -> None:
        more = {"restarts": self.restarts, "problems": problems, "rates": self.rates, "pace": self.crowd.pace}
        self._cluster.write("load", more | asdict(verdict) | {"asked": asdict(self.asked)})


@asynccontextmanager
async def field(
    name: str,
    seed: int,
    *,
    io_nodes: int = 2,
    app_nodes: int = 1,
    app: str = APP,
    websockets: int = WEBSOCKETS,
    pollers: int = POLLERS,
    rate: float = RATE,
    paced: bool = True,
    official: bool = True,
    inspected: bool = True,
    recovering: bool = True,
    **more: Any,
) -> AsyncIterator[Field]:
    """Starts everything, and stops it at the end. `more` is for `cluster`.

    `inspected`: at the end all must agree who is in which room, and when all clients have gone, nothing may be left of
    them. `recovering`: half of the crowd can claim their sessions back.
    """
    async with (
        cluster(name, seed, io_nodes=io_nodes, app_nodes=app_nodes, app=app, **more) as its,
        AsyncExitStack() as exits,
    ):
        officials = [
            await exits.enter_async_context(
                Official.started(argv, its.stack.url, its.directory, first, OFFICIAL, str(OFFICIAL_RATE))
            )
            for argv, first in _officials() if official
        ]  # fmt: skip
        for group in officials:  # they start slowly: the crowd need not send meanwhile
            await group.all_in()
        crowd = Crowd(
            its.stack.url, its.directory, websockets=websockets, pollers=pollers, rate=rate, seed=seed,
            pace=pace_now() if paced else 1.0, recovering=recovering,
        )  # fmt: skip
        await exits.enter_async_context(crowd)
        if paced:
            await crowd.settle()
        yield Field(its, crowd, officials, inspected=inspected)


async def _is(node: Node, expected: bool) -> bool:
    return await ready(node) is expected


def _first(what: str, found: list[str]) -> list[str]:
    """One line for all, with the first of them."""
    return [f"{what}: {len(found)}, as {found[:5]}"] if found else []


async def _now(value: bool) -> bool:
    return value


def _officials() -> list[tuple[list[str], int]]:
    here = ROOT / "tests/chaos"
    return [
        ([node_js(), str(here / "js/crowd.mjs")], JS_FIRST),
        ([sys.executable, str(here / "python_clients.py")], PYTHON_FIRST),
    ]
