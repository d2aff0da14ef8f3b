"""The limits of `loadtest/thresholds.toml`, and which of them a run broke.

A key is `max_` or `min_` and the name of a figure. `[limits]` is for every scenario; `[scenario.NAME]` replaces single
limits for one scenario. A limit is not judged where the run did not measure its figure, such as the CPU of a cluster
on another machine. The terminal says so.
"""

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from loadtest.accounting.result import Quantiles, Result
from loadtest.errors import CannotRun
from loadtest.reporting.outcome import Judgement, Outcome, ServerUse, this_machine

FILE = Path(__file__).resolve().parents[1] / "thresholds.toml"

Bound = float | Literal["none"] | None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Every limit that there is. None: the file does not have it. "none": the scenario has no such limit."""

    max_lost: Bound = None
    max_duplicated: Bound = None
    max_reordered: Bound = None
    max_misdelivered: Bound = None
    max_unknown: Bound = None
    max_unanswered: Bound = None
    max_disconnects: Bound = None
    max_absent: Bound = None
    max_uncertain_percent: Bound = None
    max_latency_p50_ms: Bound = None
    max_latency_p99_ms: Bound = None
    max_ack_p99_ms: Bound = None
    max_connect_p99_ms: Bound = None
    max_failed_connects: Bound = None
    max_server_cpu_us_per_delivery: Bound = None
    max_server_memory_mb: Bound = None
    max_overloaded_workers: Bound = None
    max_missing_workers: Bound = None
    min_clients: Bound = None
    min_deliveries_per_s: Bound = None
    min_acks: Bound = None
    min_knee_rate: Bound = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    limits: Limits = Limits()
    scenario: dict[str, Limits] = {}


def load(path: Path, scenario: str) -> dict[str, float]:
    """The limits of one scenario by key. Raises CannotRun, which names the key, where the file is wrong."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CannotRun(f"{path} is not TOML: {error}") from None
    try:
        file = msgspec.convert(raw, _File)
    except msgspec.ValidationError as error:
        raise CannotRun(f"{path}: {_in_words(str(error))}") from None
    tables = {"limits": file.limits, **{f"scenario.{name}": limits for name, limits in file.scenario.items()}}
    for table, given in tables.items():
        for name, bound in _given(given).items():
            if bound != "none" and not 0 <= bound < math.inf:
                raise CannotRun(f"{path}: [{table}] {name} = {bound} is not a number from 0 on")
    limits = _given(file.limits) | _given(file.scenario.get(scenario, Limits()))
    return {name: bound for name, bound in limits.items() if bound != "none"}


def judge(limits: Mapping[str, float], figures: Mapping[str, float | None]) -> list[Judgement]:
    """Compares each limit with its figure."""
    return [_judge(name, bound, figures[name[4:]]) for name, bound in limits.items()]


def figures(result: Result, server: ServerUse | None) -> dict[str, float | None]:
    """A figure for each limit that there is. None: this run did not measure it."""
    integrity, totals, workers = result.integrity, result.totals, result.generator.workers
    due_or_uncertain = integrity.due + integrity.uncertain
    acks = [quantiles for quantiles in result.acks.values() if quantiles.count]
    return {
        "unanswered": None if result.losses_allowed else sum(result.unanswered.values()),
        "disconnects": None if result.losses_allowed else result.disconnects_unasked,
        "absent": result.absent,
        "lost": None if result.losses_allowed else integrity.lost,
        "duplicated": integrity.duplicated,
        "reordered": integrity.reordered,
        "misdelivered": integrity.misdelivered,
        "unknown": integrity.unknown,
        "uncertain_percent": 100 * integrity.uncertain / due_or_uncertain if due_or_uncertain else None,
        "latency_p50_ms": _measured(result.latency, result.latency.p50_ms),
        "latency_p99_ms": _measured(result.latency, result.latency.p99_ms),
        "ack_p99_ms": max((quantiles.p99_ms for quantiles in acks), default=None),
        "connect_p99_ms": _measured(result.connects.total, result.connects.total.p99_ms),
        "failed_connects": sum(result.connects.failed.values()),
        "server_cpu_us_per_delivery": server.cpu_us_per_delivery if server else None,
        "server_memory_mb": server.memory_mb if server else None,
        "overloaded_workers": sum(worker.overloaded for worker in workers),
        "missing_workers": sum(worker.missing for worker in workers),
        "clients": totals.clients_max,
        "deliveries_per_s": totals.deliveries_per_s,
        "acks": sum(quantiles.count for quantiles in acks),
        "knee_rate": (result.knee.rate or 0.0) if result.knee else None,
    }


def judged(
    result: Result,
    limits: Mapping[str, float],
    url: str,
    *,
    embedded: bool = False,
    io_nodes: int = 0,
    server: ServerUse | None = None,
) -> Outcome:
    """The outcome of a run: its result, judged by the limits, on this machine."""
    judgements = judge(limits, figures(result, server))
    return Outcome(result, url, embedded, io_nodes, this_machine(), server, judgements)


def _measured(quantiles: Quantiles, value: float) -> float | None:
    return value if quantiles.count else None


def _judge(name: str, bound: float, measured: float | None) -> Judgement:
    if measured is None:
        return Judgement(name, bound, None, None)
    return Judgement(name, bound, measured, measured <= bound if name.startswith("max_") else measured >= bound)


def _given(limits: Limits) -> dict[str, float | Literal["none"]]:
    return {name: bound for name in Limits.__struct_fields__ if (bound := getattr(limits, name)) is not None}


def _in_words(error: str) -> str:
    """msgspec names the place by a path such as `$.limits`. The reader of the file knows it as a table."""
    text, _, place = error.partition(" - at `")
    table = place.rstrip("`").removeprefix("$").removeprefix(".")
    table = table.replace("scenario[...]", "scenario.NAME")
    if text.startswith("Object contains unknown field"):
        known = Limits.__struct_fields__ if table else ("limits", "scenario")
        name = text.split("`")[1]
        return f"unknown key {name!r}" + (f" in [{table}]" if table else "") + f"; there are {', '.join(known)}"
    head, _, key = table.rpartition(".")
    where = f"[{head}] {key}" if head and key in Limits.__struct_fields__ else f"[{table}]"
    return f"{where}: {text[:1].lower()}{text[1:]}".replace("`float | str | null`", 'a number or "none"')
