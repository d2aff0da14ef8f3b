"""The options of a run, beside locust's own. Locust sends the master's options to every worker."""

import argparse
from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from typing import Any

import msgspec

from loadtest.accounting.generator import GeneratorLimits

TRANSPORTS = ("upgrade", "websocket", "polling")
_OURS: set[str] = set()  # names of our options, once they are added
SCENARIOS = ("fanout", "chat", "rpc", "broadcast", "churn", "reconnect-storm", "slow-consumers", "ramp")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options, parsed. Rates are per second. Times are in seconds unless the name says otherwise."""

    scenario: str = ""
    rooms: int = 0  # 0: as many as the sizes ask for
    room_sizes: tuple[int, ...] = (50,)
    publishers: int = 1
    publish_rates: tuple[float, ...] = (10.0,)
    payload_bytes: int = 128
    transports: tuple[tuple[str, float], ...] = (("upgrade", 1.0),)
    namespace: str = "/loadtest"
    stay_s: float = 5.0
    storm_every_s: float = 15.0
    slow_share: float = 0.1
    ramp_start: float = 100.0
    ramp_factor: float = 1.5
    ramp_step_s: int = 10
    ramp_steps: int = 12
    ramp_p99_ms: float = 100.0
    drain_s: float = 10.0
    cpu_limit: float = 85.0
    lag_limit_ms: float = 20.0

    @property
    def generator_limits(self) -> GeneratorLimits:
        return GeneratorLimits(self.cpu_limit, self.lag_limit_ms)


class Seat(msgspec.Struct, frozen=True):
    """The room of a user, and its emits per second. A user with rate 0 only listens."""

    room: int
    rate: float


def add_arguments(parser: Any) -> None:
    """Adds our options to locust's parser. A wrong value is an error of the command line."""
    group = parser.add_argument_group("Socket.IO load test")

    def add(name: str, kind: Any, default: Any, text: str, **more: Any) -> None:
        _OURS.add(name[2:].replace("-", "_"))
        env = "LOADTEST_" + name[2:].upper().replace("-", "_")
        group.add_argument(name, type=kind, default=default, env_var=env, help=f"{text} (default {default})", **more)

    add("--scenario", str, "", "What users do; by default what --tags names, or fanout", choices=["", *SCENARIOS])
    add("--rooms", _whole, 0, "How many rooms; 0: as many as --room-size asks for")
    add("--room-size", _sizes, "50", "Members of a room, or several sizes in turn: 10,100,1000")
    add("--publishers", _whole, 1, "Publishers of each room; with the scenario broadcast: of all")
    add("--publish-rate", _rates, "10", "Emits of each publisher per second, or one rate for each --room-size in turn")
    add("--payload-bytes", _whole, 128, "Size of a message, at least 40")
    add("--transports", _weights, "upgrade=1", "Transports by weight: upgrade=8,websocket=1,polling=1")
    add("--namespace", str, "/loadtest", "Namespace to load")
    add("--stay", float, 5.0, "churn: seconds that a client stays")
    add("--storm-every", float, 15.0, "reconnect-storm: seconds from one to the next")
    add("--slow-share", _share, 0.1, "slow-consumers: share of users that never read")
    add("--ramp-start", float, 100.0, "ramp: emits per second of all publishers together at the first step")
    add("--ramp-factor", float, 1.5, "ramp: each step multiplies the emits per second by this")
    add("--ramp-step", _whole, 10, "ramp: seconds of a step; its first fifth is not judged")
    add("--ramp-steps", _whole, 12, "ramp: steps at most")
    add("--ramp-p99", float, 100.0, "ramp: the p99 latency in ms up to which a step holds")
    add(
        "--drain",
        float,
        10.0,
        "How many seconds to wait at most, after the last emit, for deliveries that are under way",
    )
    group.add_argument(
        "--metrics-port",
        type=_whole,
        default=0,
        env_var="LOADTEST_METRICS_PORT",
        help="Without a web interface: the port for /metrics, on --web-host (default 0: none)",
    )
    add("--cpu-limit", float, 85.0, "CPU percent above which a worker counts as overloaded")
    add("--lag-limit", float, 20.0, "How late a worker's loop may wake up (p99, ms) before it counts as overloaded")


def settings(options: Any) -> Settings:
    """Our settings out of locust's parsed options. Raises ValueError for a wrong list (the web interface allows it)."""
    return Settings(
        scenario=options.scenario or next((tag for tag in options.tags or () if tag in SCENARIOS), "fanout"),
        rooms=int(options.rooms),
        room_sizes=tuple(int(size) for size in _sizes(options.room_size).split(",")),
        publishers=int(options.publishers),
        publish_rates=tuple(float(rate) for rate in _rates(options.publish_rate).split(",")),
        payload_bytes=int(options.payload_bytes),
        transports=_parsed_weights(options.transports),
        namespace=options.namespace,
        stay_s=float(options.stay),
        storm_every_s=float(options.storm_every),
        slow_share=float(options.slow_share),
        ramp_start=float(options.ramp_start),
        ramp_factor=float(options.ramp_factor),
        ramp_step_s=max(5, int(options.ramp_step)),
        ramp_steps=int(options.ramp_steps),
        ramp_p99_ms=float(options.ramp_p99),
        drain_s=float(options.drain),
        cpu_limit=float(options.cpu_limit),
        lag_limit_ms=float(options.lag_limit),
    )


def asked_for(options: Any) -> dict[str, str | int | float | bool | None]:
    """The options that describe the load, for the report: ours, and some of locust's."""
    names = ["num_users", "spawn_rate", "run_time", "processes", "host", *(n for n in vars(options) if n in _OURS)]
    values = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in values.items() if isinstance(value, str | int | float)}


def seat(settings: Settings, slot: int) -> Seat:
    """The seat of the user number `slot`. Rooms count from 1. The first users of each room publish."""
    rates = settings.publish_rates
    if settings.rooms:
        at, place = slot % settings.rooms, slot // settings.rooms
        turn = at
    else:
        ends = list(accumulate(settings.room_sizes))
        cycle, rest = divmod(slot, ends[-1])
        turn = bisect_right(ends, rest)
        at = cycle * len(ends) + turn
        place = rest - (ends[turn - 1] if turn else 0)
    rate = rates[turn % len(rates)] if place < settings.publishers else 0.0
    return Seat(at + 1, rate)


def base_rate(settings: Settings, users: int) -> float:
    """Emits per second of that many users together."""
    return sum(seat(settings, slot).rate for slot in range(users)) or 1.0


def base_fan_out(settings: Settings, users: int) -> float:
    """Deliveries per emit, for that many users together."""
    seats = [seat(settings, slot) for slot in range(users)]
    members = Counter(each.room for each in seats)
    return sum(each.rate * members[each.room] for each in seats) / base_rate(settings, users)


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return number


def _sizes(text: str) -> str:
    if any(int(size) < 1 for size in str(text).split(",")):
        raise ValueError(f"{text}: a room has one member at least")
    return str(text)


def _rates(text: str) -> str:
    if any(float(rate) <= 0 for rate in str(text).split(",")):
        raise ValueError(f"{text}: a rate is above 0")
    return str(text)


def _weights(text: str) -> str:
    _parsed_weights(text)
    return str(text)


def _parsed_weights(text: str) -> tuple[tuple[str, float], ...]:
    weights = []
    for part in text.split(","):
        name, _, weight = part.partition("=")
        if name.strip() not in TRANSPORTS or float(weight or 1) < 0:
            raise ValueError(f"{part!r} is not one of {', '.join(TRANSPORTS)} with a weight")
        weights.append((name.strip(), float(weight or 1)))
    if not sum(weight for _, weight in weights):
        raise ValueError("all transports have the weight 0")
    return tuple(weights)
