"""An io-node is killed under a steady emit, and all its clients come back to the others, at once or as browsers do.

What must hold: each of them has its session back, and every message once and in order; no event loop is held up for
more than 50 ms; no io-node lets in more than CONNECT_RATE; each reads the log of the dead home once.
"""

import asyncio
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import psutil

from loadtest.bench.load import clients as load
from loadtest.bench.load.clients import Tally
from loadtest.bench.load.pace import arrivals
from loadtest.bench.load.returners import Order, Report, Returners, started
from loadtest.bench.targets import Part, Target
from loadtest.bench.work import witness
from loadtest.bench.work.acks import ECHO
from loadtest.bench.work.gauge import Gauge, percentile
from loadtest.bench.work.witness import ConnectRate, Control, counter
from sio_cluster.node.settings.config import Config
from sio_cluster.testing.http import http_client

ROOM_OF = 50
"""How many clients are in a room."""
SPARE_FILES = 300
"""Open files that a process needs beside those of its clients."""
ECHOES_PER_SECOND = 100
QUIET_S = 1.0
SETTLE_S = 3.0
"""So long after the last message it is looked who has it."""
CONNECT_S, BACK_S = 300.0, 300.0

Figures = dict[str, float]


async def come_back(target: Target, *, count: int, live: int, per_second: int, seconds: float, waits: bool) -> Figures:
    """`count` clients of the first io-node come back to the others, on which `live` clients are.

    `per_second` messages go to rooms of 50 of them. `seconds`: so long it is measured how it was before. `waits`: as in
    `Order`. With fewer open files than `count` there are fewer clients.
    """
    count = min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES)
    home, *others = target.ports
    rooms = max(1, count // ROOM_OF)
    tally = Tally()
    async with started(Order(home, others, count, rooms, waits)) as returners, witness.control(others[0]) as control:
        crowd = await load.connect(others, live, tally)
        await returners.wait_for("connected", CONNECT_S)
        await control.ask("emit_steadily", {"rooms": rooms, "per_second": per_second})
        async with _echoes(crowd):
            await asyncio.sleep(QUIET_S)
            before = await _before(tally, seconds)
            figures = await _while_they_come_back(target, returners, control, tally, count)
        numbers = await control.ask("emit_no_more")
        await asyncio.sleep(SETTLE_S)
        report = await returners.end()
        load.disconnect(crowd)
    return {**before, **figures, **_of_clients(report, numbers, figures["seconds"]), "count": count}


async def _before(tally: Tally, seconds: float) -> Figures:
    tally.expect()
    await asyncio.sleep(seconds)
    return {"p50_ms before": _ms(tally, 0.5), "p99_ms before": _ms(tally, 0.99)}


async def _while_they_come_back(
    target: Target, returners: Returners, control: Control, tally: Tally, count: int
) -> Figures:
    """Kills the io-node, and measures until all its clients are back."""
    others = target.ports[1:]
    async with http_client() as http:
        rate = ConnectRate(http, others, Config.model_fields["connect_rate"].default)
        await rate.look()
        await witness.loops(http, others)
        await control.ask("watch_loop")
        entries = await witness.home_entries(target.redis_port, "io0")
        xranges = await witness.xranges(target.redis_port)
        target.kill(0)
        tally.expect()
        machine, gauge, each = _Machine(), Gauge(target), target.cpu_seconds_each()
        watching = asyncio.create_task(rate.watch())
        await returners.wait_for("back", BACK_S)
        used, p50_ms, p99_ms = gauge.read(), _ms(tally, 0.5), _ms(tally, 0.99)
        watching.cancel()
        each = [
            (part, after - before) for (part, before), (_, after) in zip(each, target.cpu_seconds_each(), strict=True)
        ]
        loops = await witness.loops(http, others)
        app = await control.ask("watch_loop")
        loads = [await counter(http, port, "sio_io_home_logs_loaded_total") for port in others]
        xranges = await witness.xranges(target.redis_port) - xranges
    return {
        "seconds": used.seconds,
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        **_stalls("io", loops),
        **_stalls("app", [app]),
        "highest": rate.highest,
        "over_rate": max(0.0, rate.over),
        "loads": max(loads),
        "xranges": xranges,
        "entries": entries,
        **used.cpu_us(1_000 * count, "cpu_ms"),
        **_shares(each, used.seconds),
        **machine.read(),
    }


def _stalls(part: str, loops: Sequence[dict[str, float]]) -> Figures:
    return {f"{part} {name}": max(loop[name] for loop in loops) for name in ("longest_ms", "longest_cpu_ms")} | {
        f"{part} {name}": sum(loop[name] for loop in loops) for name in ("long", "long_cpu")
    }


def _shares(each: Sequence[tuple[Part, float]], seconds: float) -> Figures:
    """How busy the processes were, from 0 to 1; of several, the busiest."""
    names: dict[Part, str] = {"holder": "busy io", "app": "busy app", "redis": "busy redis"}
    return {name: max(used for its, used in each if its == part) / seconds for part, name in names.items()}


class _Machine:
    """How busy the machine is, from when it is made."""

    def __init__(self) -> None:
        self._times = psutil.cpu_times()

    def read(self) -> Figures:
        """Shares of all its cores: busy, and stolen by other virtual machines."""
        now = psutil.cpu_times()
        spent = {name: getattr(now, name) - getattr(self._times, name) for name in now._fields}
        total = sum(spent.values())
        return {
            "machine_busy": 1 - (spent["idle"] + spent.get("iowait", 0.0)) / total,
            "machine_stolen": spent.get("steal", 0.0) / total,
        }


def _of_clients(report: Report, numbers: Sequence[int], seconds: float) -> Figures:
    unseen = sum(number - 1 - last for number, of_room in zip(numbers, report.last, strict=True) for last in of_room)
    times = [at for of_port in report.at.values() for at in of_port]
    return {
        "recovered": report.recovered,
        "fresh": report.fresh,
        "again": report.again,
        "tries": report.tries,
        "missing": report.missing + unseen,
        "doubled": report.doubled,
        "disordered": report.disordered,
        "back_p50_s": percentile(times, 0.5),
        "back_s": max(times),
        "generator": report.cpu_s / seconds,
    }


def _ms(tally: Tally, share: float) -> float:
    return percentile(tally.round_trips_s, share) * 1e3


@asynccontextmanager
async def _echoes(crowd: Sequence[load.Client]) -> AsyncIterator[None]:
    """All of these clients send events that are acked, in turn."""

    def send(number: int, due: float) -> None:
        crowd[number % len(crowd)].send(ECHO, due)

    task = asyncio.create_task(arrivals(ECHOES_PER_SECOND, 2 * BACK_S, send))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
