"""A whole run: what was measured, what it cost the servers, and how it was judged. `result.json` is an `Outcome`."""

import os
import platform

import msgspec
import psutil

from loadtest.accounting.result import Result


class Machine(msgspec.Struct, frozen=True):
    """The machine of the command, and of the embedded cluster."""

    cores: int
    memory_gb: float
    system: str
    processor: str
    python: str


class PartUse(msgspec.Struct, frozen=True):
    """What one part of the embedded cluster used in a span of time."""

    name: str
    cpu_s: float
    cpu_percent: float  # of one core
    memory_mb: float  # resident; the most of any sample


class ServerUse(msgspec.Struct, frozen=True):
    """All parts together. `cpu_us_per_delivery` is None where nothing was delivered."""

    parts: list[PartUse]
    cpu_s: float
    cpu_us_per_delivery: float | None
    memory_mb: float


class Judgement(msgspec.Struct, frozen=True):
    """One limit, and what the run measured. `kept` is None where it did not measure that."""

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


class Outcome(msgspec.Struct):
    """`server` is None unless the cluster was the embedded one."""

    result: Result
    url: str
    embedded: bool
    io_nodes: int  # of the embedded cluster; 0 where there is none
    machine: Machine
    server: ServerUse | None
    judgements: list[Judgement]
    interrupted: bool = False

    @property
    def broken(self) -> list[Judgement]:
        return [judgement for judgement in self.judgements if judgement.kept is False]


def encode(outcome: Outcome) -> bytes:
    """JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n"


def decode(text: bytes) -> Outcome:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.json.decode(text, type=Outcome)


def number(value: float) -> str:
    """12,345 or 12.35."""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def this_machine() -> Machine:
    return Machine(
        cores=os.cpu_count() or 1,
        memory_gb=psutil.virtual_memory().total / 1e9,
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        python=platform.python_version(),
    )


def _processor() -> str:
    """The name of the processor, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return platform.processor()
