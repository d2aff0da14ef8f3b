"""The limits of `loadtest/thresholds.toml`, and which of them a run broke.

A key is `max_` or `min_` and a figure's name. `[limits]` holds for every scenario, `[scenario.NAME]` replaces single
limits for one. A limit on something that a run did not measure, such as the CPU of a cluster on another machine, is not
judged, and that is said.
"""

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from loadtest.runner.options import CannotRun

Bound = float | Literal["none"] | None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Every limit that there is. None: not given; "none" takes one of `[limits]` away for a scenario."""

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


class Judgement(msgspec.Struct, frozen=True):
    """One limit beside what the run measured. `kept` is None where it did not measure that."""

    limit: str
    bound: float
    measured: float | None
    kept: bool | None

    def __str__(self) -> str:
        name = self.limit[4:].replace("_", " ")
        if self.measured is None:
            return f"{name}: not measured in this run"
        word = "at most" if self.limit.startswith("max_") else "at least"
        return f"{name}: {number(self.measured)}, allowed {word} {number(self.bound)}"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    limits: Limits = Limits()
    scenario: dict[str, Limits] = {}


def load(path: Path, scenario: str) -> dict[str, float]:
    """The limits of one scenario by their keys. Raises CannotRun, which names the key, where the file is wrong."""
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
    """Every limit beside its figure."""
    return [_judge(name, bound, figures[name[4:]]) for name, bound in limits.items()]


def number(value: float) -> str:
    """12,345 or 12.35."""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def _judge(name: str, bound: float, measured: float | None) -> Judgement:
    if measured is None:
        return Judgement(name, bound, None, None)
    return Judgement(name, bound, measured, measured <= bound if name.startswith("max_") else measured >= bound)


def _given(limits: Limits) -> dict[str, float | Literal["none"]]:
    return {name: bound for name in Limits.__struct_fields__ if (bound := getattr(limits, name)) is not None}


def _in_words(error: str) -> str:
    """msgspec's text says where by a path such as `$.limits`; the file's reader knows tables."""
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
