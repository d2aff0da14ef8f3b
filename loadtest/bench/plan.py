"""Which targets are measured, and at which work.

There are several sittings, because a target has to be started in the size that a work asks for: one server, four, or
eight. In each, every column is started and measured in turn.
"""

import random
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from loadtest.bench import rows, targets
from loadtest.bench.load import clients as load
from loadtest.bench.load.clients import Tally
from loadtest.bench.rows import Row
from loadtest.bench.sizes import Sizes
from loadtest.bench.targets import Target
from loadtest.bench.work import acks, fan_out, holding, returning

Figures = dict[str, dict[str, float]]
"""Of one target in one round: the work's name, and its figures by name."""


@dataclass(frozen=True)
class Sitting:
    """Columns that are measured at the same work, and which of them are compared with each other."""

    title: str
    columns: dict[str, Callable[[], AbstractAsyncContextManager[Target]]]
    measure: Callable[[Target, Sizes], Coroutine[None, None, Figures]]
    rows: Callable[[Sizes], list[Row]]
    ratios: tuple[tuple[str, str], ...]
    """The column above the line, and the one below it."""


async def _closed_loops(
    target: Target, tally: Tally, sizes: Sizes, counts: tuple[int, ...]
) -> tuple[list[load.Client], Figures]:
    """Round trips of so many clients each; then the whole crowd is there, in one room."""
    figures: Figures = {}
    crowd: list[load.Client] = []
    for count in (*counts, sizes.crowd):
        crowd += await load.connect(target.ports, count - len(crowd), tally)
        if count in counts:
            figures[f"closed {count}"] = await acks.closed_loop(target, crowd[:count], tally, sizes.seconds)
    await load.join(crowd, [["all"]] * len(crowd))
    return crowd, figures


async def one_server(target: Target, sizes: Sizes) -> Figures:
    """Round trips of few and of many clients; a room of all."""
    tally = Tally()
    crowd, figures = await _closed_loops(target, tally, sizes, sizes.closed)
    blast = fan_out.blast
    figures["single"] = await blast(target, crowd, tally, "all", bursts=sizes.singles, burst=1)
    figures["burst"] = await blast(target, crowd, tally, "all", bursts=sizes.bursts, burst=50)
    figures["volley"] = await fan_out.volleys(target, crowd, tally, "all", bursts=sizes.bursts, burst=50)
    load.disconnect(crowd)
    return figures


async def arrivals(target: Target, sizes: Sizes) -> Figures:
    """What it costs to connect and to stay. A few come before: what a process does once is not counted."""
    tally = Tally()
    first = await load.connect(target.ports, sizes.first, tally)
    crowd, figures = await holding.arrive(target, tally, sizes.crowd)
    recovering: dict[str, float] = {}
    if target.gives_pids:
        more, recovering = await holding.arrive(target, tally, sizes.crowd, recovers=True)
        crowd += more
    load.disconnect(first + crowd)
    return {"arrive": figures, "arrive recovering": recovering}


async def with_offsets(target: Target, sizes: Sizes) -> Figures:
    """A room of clients that can come back, each of which gets an offset with what is said to it."""
    tally = Tally()
    crowd = await load.connect(target.ports, sizes.crowd, tally, recovers=True)
    await load.join(crowd, [["all"]] * len(crowd))
    figures = {
        "single": await fan_out.blast(target, crowd, tally, "all", bursts=2 * sizes.singles, burst=1),
        "burst": await fan_out.blast(target, crowd, tally, "all", bursts=4 * sizes.bursts, burst=50),
    }
    load.disconnect(crowd)
    return figures


async def promises(target: Target, sizes: Sizes) -> Figures:
    """Round trips of few and of many clients, events at a given rate, and a room of all, in a cluster of three
    processes."""
    tally = Tally()
    crowd, figures = await _closed_loops(target, tally, sizes, sizes.closed[:-1])
    figures["single"] = await fan_out.blast(target, crowd, tally, "all", bursts=sizes.singles, burst=1)
    figures["open"] = await acks.open_loop(target, crowd, tally, sizes.seconds, sizes.one_app_rate)
    load.disconnect(crowd)
    return figures


async def polling(target: Target, sizes: Sizes) -> Figures:
    """A room of clients that poll."""
    tally = Tally()
    pollers = await load.connect(target.ports, sizes.pollers, tally, polling=True)
    await load.join(pollers, [["polls"]] * len(pollers))
    figures = {
        "poll single": await fan_out.blast(target, pollers, tally, "polls", bursts=sizes.singles, burst=1),
        "poll burst": await fan_out.blast(target, pollers, tally, "polls", bursts=sizes.bursts, burst=50),
    }
    load.disconnect(pollers)
    return figures


async def four_servers(target: Target, sizes: Sizes) -> Figures:
    """Nobody there; then events at given rates, alone and each with an emit to a room of 50."""
    tally = Tally()
    figures: Figures = {"idle": await holding.idle(target, sizes.seconds)}
    crowd = await load.connect(target.ports, sizes.spread, tally)
    for rate in sizes.open_rates:
        figures[f"open {rate}"] = await acks.open_loop(target, crowd, tally, sizes.seconds, rate)
    rooms = max(1, sizes.spread // 50)
    await load.join(crowd, [[f"room {number % rooms}"] for number in range(len(crowd))])
    for rate in sizes.room_rates:
        figures[f"room {rate}"] = await acks.open_loop(
            target, crowd, tally, sizes.seconds, rate, lambda number: b'["say","room %d"]' % (number % rooms)
        )
    load.disconnect(crowd)
    return figures


async def many_rooms(target: Target, sizes: Sizes) -> Figures:
    """Many small rooms, each client in many of them. Rooms of 5 touch few of eight servers."""
    tally = Tally()
    crowd = await load.connect(target.ports, sizes.crowd, tally)
    chance = random.Random(1)
    its: list[list[str]] = [[] for _ in crowd]
    for room in range(sizes.rooms):
        for member in chance.sample(range(len(crowd)), sizes.members):
            its[member].append(f"r{room}")
    await load.join(crowd, its)
    figures = {
        "rooms": await acks.open_loop(
            target, crowd, tally, sizes.seconds, sizes.room_emits,
            lambda number: b'["say","r%d"]' % chance.randrange(sizes.rooms),
        )
    }  # fmt: skip
    load.disconnect(crowd)
    return figures


async def _all_return(target: Target, sizes: Sizes, *, waits: bool) -> Figures:
    """One of three io-nodes is killed, and all its clients come back to the others."""
    figures = await returning.come_back(
        target, count=sizes.returning, live=sizes.live, per_second=sizes.return_emits, seconds=sizes.seconds,
        waits=waits,
    )  # fmt: skip
    return {"return": figures}


async def return_at_once(target: Target, sizes: Sizes) -> Figures:
    """All of them at the same moment."""
    return await _all_return(target, sizes, waits=False)


async def return_as_browsers(target: Target, sizes: Sizes) -> Figures:
    """Each after the wait that the JavaScript client has by default."""
    return await _all_return(target, sizes, waits=True)


SITTINGS = {
    "one": Sitting(
        "One server",
        {
            "bare": targets.bare,
            "relay": lambda: targets.relay(1),
            "this": lambda: targets.cluster(1),
            "node": lambda: targets.node(1),
            "python": lambda: targets.python(1),
        },
        one_server, rows.of_one,
        (("this", "node"), ("this", "python"), ("this", "bare"), ("this", "relay"), ("relay", "node")),
    ),
    "arrivals": Sitting(
        "One server, clients that come and stay",
        {
            "bare": targets.bare,
            "relay": lambda: targets.relay(1),
            "this": lambda: targets.cluster(1),
            "node": lambda: targets.node(1),
            "python": lambda: targets.python(1),
        },
        arrivals, rows.of_arrivals,
        (("this", "node"), ("this", "python"), ("this", "bare"), ("this", "relay"), ("relay", "node")),
    ),
    "recovery": Sitting(
        "One server, clients that can come back",
        {"this": lambda: targets.cluster(1), "this off": lambda: targets.cluster(1, RECOVERY_WINDOW_MS="0")},
        with_offsets, rows.of_offsets, (("this", "this off"),),
    ),
    "promises": Sitting(
        "What promises cost",
        {
            "relay": lambda: targets.relay(1),
            "this off": lambda: targets.cluster(1, RECOVERY_WINDOW_MS="0"),
            "this narrow": lambda: targets.cluster(1, LANES="1"),
            "this": lambda: targets.cluster(1),
        },
        promises, rows.of_promises, (("this", "relay"), ("this", "this off"), ("this", "this narrow")),
    ),
    "polling": Sitting(
        "One server, long polling",
        {
            "this": lambda: targets.cluster(1),
            "node": lambda: targets.node(1),
            "python": lambda: targets.python(1),
        },
        polling, rows.of_polling, (("this", "node"), ("this", "python")),
    ),
    "four": Sitting(
        "Four servers",
        {
            "relay": lambda: targets.relay(4),
            "this": lambda: targets.cluster(4),
            "node redis": lambda: targets.node(4, "redis"),
            "node streams": lambda: targets.node(4, "streams"),
            "python redis": lambda: targets.python(4),
        },
        four_servers, rows.of_four,
        (
            ("this", "node redis"), ("this", "node streams"), ("this", "python redis"), ("this", "relay"),
            ("relay", "node redis"),
        ),
    ),
    "growth": Sitting(
        "From one server to eight",
        {
            "this 1": lambda: targets.cluster(1),
            "this 8": lambda: targets.cluster(8),
            "node 1": lambda: targets.node(1),
            "node redis 8": lambda: targets.node(8, "redis"),
        },
        many_rooms, rows.of_rooms, (("this 8", "this 1"), ("node redis 8", "node 1"), ("this 8", "node redis 8")),
    ),
    "return": Sitting(
        "An io-node is killed: all its clients come back at once",
        {"this": lambda: targets.cluster(3, "returning_app", watched=True)},
        return_at_once, rows.of_return, (),
    ),
    "browsers": Sitting(
        "An io-node is killed: its clients come back as browsers do",
        {"this": lambda: targets.cluster(3, "returning_app", watched=True)},
        return_as_browsers, rows.of_return, (),
    ),
}  # fmt: skip

COLUMNS = {
    "bare": "a loop that answers with ready-made frames, one write for each frame and nothing else",
    "relay": "what splitting a server in two costs by itself: the same processes as this cluster, the same way through"
    " Redis, and nothing else; no promises",
    "this": "this cluster: an io-node for each server (1, 3, 4 or 8), one app-node, and Redis",
    "this off": "the same with RECOVERY_WINDOW_MS=0: nobody can come back",
    "this narrow": "the same with LANES=1: one app-node can serve, and its clients share one stream",
    "node": "Socket.IO's own server on Node.js, one process, no Redis",
    "node redis": "the same, joined by its Redis adapter (pub/sub)",
    "node streams": "the same, joined by its Redis Streams adapter",
    "python": "python-socketio, one process, no Redis",
    "python redis": "the same, joined by its Redis manager (pub/sub)",
}
"""What the columns are. A number behind a name counts its servers."""
