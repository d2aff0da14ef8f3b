"""One run whole: what was measured, what it cost the servers, how it was judged. `result.json` is this struct."""

import os
import platform
from collections.abc import Mapping

import msgspec
import psutil

from loadtest.ledger.result import Result
from loadtest.runner.figures import figures
from loadtest.runner.sampler import ServerUse
from loadtest.runner.thresholds import Judgement, judge


class Machine(msgspec.Struct, frozen=True):
    """Where the runner ran, and with it the embedded cluster."""

    cores: int
    memory_gb: float
    system: str
    processor: str
    python: str


class Outcome(msgspec.Struct):
    """`server` is there where the cluster was the embedded one."""

    result: Result
    url: str
    embedded: bool
    io_nodes: int  # of the embedded cluster; 0 otherwise
    machine: Machine
    server: ServerUse | None
    judgements: list[Judgement]
    interrupted: bool = False

    @property
    def broken(self) -> list[Judgement]:
        return [judgement for judgement in self.judgements if judgement.kept is False]


def judged(
    result: Result,
    limits: Mapping[str, float],
    url: str,
    *,
    embedded: bool = False,
    io_nodes: int = 0,
    server: ServerUse | None = None,
) -> Outcome:
    """A run beside its limits, and the machine that this is."""
    judgements = judge(limits, figures(result, server))
    return Outcome(result, url, embedded, io_nodes, this_machine(), server, judgements)


def encode(outcome: Outcome) -> bytes:
    """JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n"


def decode(text: bytes) -> Outcome:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.json.decode(text, type=Outcome)


def this_machine() -> Machine:
    return Machine(
        cores=os.cpu_count() or 1,
        memory_gb=psutil.virtual_memory().total / 1e9,
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        python=platform.python_version(),
    )


def _processor() -> str:
    """Its name, where the system tells."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return platform.processor()
