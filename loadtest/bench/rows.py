"""The lines of the report: which figure of which work each has, and what it is called."""

from dataclasses import dataclass

from loadtest.bench.sizes import Sizes


@dataclass(frozen=True)
class Row:
    """One line of the report: a figure of a work."""

    work: str
    figure: str
    title: str
    is_cost: bool = True
    """Whether less is better."""


def of_one(sizes: Sizes) -> list[Row]:
    loops = [
        Row(f"closed {count}", figure, f"acked round trip, {count} client{'s' * (count > 1)}: {what}")
        for count in sizes.closed for figure, what in (("cpu_us", "CPU us"), ("p50_ms", "p50 ms"))
    ]  # fmt: skip
    return [
        *loops,
        Row(f"closed {sizes.closed[-1]}", "per_second", f"round trips/s, {sizes.closed[-1]} clients", is_cost=False),
        Row("single", "cpu_us", f"broadcast to {sizes.crowd}, one by one: CPU us a delivery"),
        Row("single", "p50_ms", "the same: p50 ms"),
        Row("single", "p99_ms", "the same: p99 ms"),
        Row("burst", "cpu_us", f"broadcast to {sizes.crowd}, bursts of 50: CPU us a delivery"),
        Row("burst", "per_second", "the same: deliveries/s", is_cost=False),
        Row("volley", "cpu_us", f"broadcast to {sizes.crowd}, 50 by one handler: CPU us a delivery"),
    ]


def of_arrivals(sizes: Sizes) -> list[Row]:
    return [
        Row("arrive", "cpu_us", "connect and CONNECT, WebSocket: CPU us"),
        Row("arrive", "holder_kb", "memory per idle connection, where it is held: KB"),
        Row("arrive", "app_kb", "memory per idle connection, app-node: KB"),
        Row("arrive", "redis_kb", "memory per idle connection, Redis: KB"),
        Row("arrive recovering", "holder_kb", "the same of a client that can come back, where it is held: KB"),
        Row("arrive recovering", "app_kb", "the same of a client that can come back, app-node: KB"),
        Row("arrive recovering", "redis_kb", "the same of a client that can come back, Redis: KB"),
    ]


def of_offsets(sizes: Sizes) -> list[Row]:
    return [
        Row("single", "cpu_us", f"broadcast to {sizes.crowd}, one by one: CPU us a delivery"),
        Row("burst", "cpu_us", f"broadcast to {sizes.crowd}, bursts of 50: CPU us a delivery"),
    ]


def of_promises(sizes: Sizes) -> list[Row]:
    works = [(f"closed {count}", f"acked round trip, {count} client{'s' * (count > 1)}") for count in sizes.closed[:-1]]
    works += [("open", f"acked events, {sizes.one_app_rate:,}/s")]
    works += [("single", f"broadcast to {sizes.crowd}, one by one, a delivery")]
    parts = (("", "CPU us"), (" holder", "io-node"), (" app", "app-node"), (" redis", "Redis"))
    return [Row(work, f"cpu_us{part}", f"{what}: {name}") for work, what in works for part, name in parts]


def of_polling(sizes: Sizes) -> list[Row]:
    return [
        Row("poll single", "cpu_us", f"broadcast to {sizes.pollers} that poll, one by one: CPU us a delivery"),
        Row("poll single", "p50_ms", "the same: p50 ms"),
        Row("poll burst", "cpu_us", f"broadcast to {sizes.pollers} that poll, bursts of 50: CPU us a delivery"),
    ]


def of_four(sizes: Sizes) -> list[Row]:
    kinds = [(f"open {rate}", f"acked events, {rate:,}/s") for rate in sizes.open_rates]
    kinds += [(f"room {rate}", f"events that emit to a room of 50, {rate:,}/s") for rate in sizes.room_rates]
    return [
        Row("idle", "cpu_ms_per_second", "nobody connected: CPU ms a second"),
        *(
            Row(work, figure, f"{what}: {unit}")
            for work, what in kinds for figure, unit in (("cpu_us", "CPU us each"), ("p50_ms", "p50 ms"))
        ),
    ]  # fmt: skip


def of_rooms(sizes: Sizes) -> list[Row]:
    what = f"{sizes.rooms:,} rooms of {sizes.members}, {sizes.room_emits}/s"
    return [
        Row("rooms", "cpu_us_per_delivery", f"{what}: CPU us a delivery"),
        Row("rooms", "p50_ms", "the same: p50 ms"),
    ]


def of_return(sizes: Sizes) -> list[Row]:
    return [
        Row("return", "recovered", "clients that are back with their session", is_cost=False),
        Row("return", "back_s", "all are back: s"),
        Row("return", "back_p50_s", "half of them are back: s"),
        Row("return", "cpu_ms", "CPU ms for each of them, with what was emitted meanwhile"),
        Row("return", "io longest_cpu_ms", "io-nodes, longest turn of the event loop: CPU ms"),
        Row("return", "io longest_ms", "the same by the clock: ms"),
        Row("return", "app longest_cpu_ms", "app-node, longest turn of the event loop: CPU ms"),
        Row("return", "app longest_ms", "the same by the clock: ms"),
        Row("return", "highest", "most that an io-node lets in: clients/s"),
        Row("return", "loads", "how often an io-node reads the log of the dead home"),
        Row("return", "p50_ms before", "acked event of others, before: p50 ms"),
        Row("return", "p50_ms", "the same meanwhile: p50 ms"),
        Row("return", "p99_ms before", "acked event of others, before: p99 ms"),
        Row("return", "p99_ms", "the same meanwhile: p99 ms"),
        Row("return", "busy io", "busiest io-node: share of a core"),
        Row("return", "busy app", "app-node: share of a core"),
        Row("return", "busy redis", "Redis: share of a core"),
        Row("return", "machine_busy", "the machine: share of its cores"),
    ]
