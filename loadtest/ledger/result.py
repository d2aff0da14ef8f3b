"""The outcome of one run, as it is written to `result.json`. Lists are in the order in which things happened."""

from typing import Literal

import msgspec


class Quantiles(msgspec.Struct, frozen=True):
    """Of `count` values in milliseconds; each at most 1 % off. All 0 where there are none."""

    count: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


class Second(msgspec.Struct):
    """One second of the run, all workers together. `t`: seconds since its start."""

    t: int
    emits: int = 0
    deliveries: int = 0
    bytes: int = 0  # of the packets delivered
    clients: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0


class Totals(msgspec.Struct):
    """Over the whole run. Per-second figures are over `busy_s`, the seconds in which anything was delivered."""

    emits: int = 0
    deliveries: int = 0
    bytes: int = 0
    busy_s: int = 0
    deliveries_per_s: float = 0.0
    megabytes_per_s: float = 0.0  # 10^6 bytes
    fan_out: float = 0.0  # deliveries per emit
    clients_max: int = 0


class Flaw(msgspec.Struct, frozen=True):
    """What went wrong between one publisher and one room, over all members."""

    publisher: int
    room: int  # 0: broadcast
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    first_lost_seq: int | None = None


class Integrity(msgspec.Struct):
    """Each emit beside each member that was in its room.

    A delivery is due when the member's join was acked before the emit, and the emit was acked before the member asked
    to leave or lost its transport. `lost`: due and not received. `uncertain`: not received, and nobody can say
    whether it was due (under way while the member joined, left or reconnected, or its emit never acked). `excused`: not
    received by members that the scenario keeps from reading. `duplicated`: received again. `reordered`: received after
    a later one of the same publisher and room. `misdelivered`: received by who was no member of the room, or sent after
    its leave was acked. `unknown`: from a publisher that this run does not have. An emit that any member received is as
    good as acked.
    """

    due: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    uncertain: int = 0
    excused: int = 0
    misdelivered: int = 0
    unknown: int = 0
    worst: list[Flaw] = []  # the ten with most flaws

    @property
    def is_whole(self) -> bool:
        return not (self.lost or self.duplicated or self.reordered or self.misdelivered or self.unknown)


class Connects(msgspec.Struct):
    """How clients came in. Phases as in the browser: Engine.IO handshake, upgrade, CONNECT to the namespace."""

    succeeded: int = 0
    reconnected: int = 0
    failed: dict[str, int] = {}  # reason -> count
    handshake: Quantiles = Quantiles()
    upgrade: Quantiles = Quantiles()
    connect: Quantiles = Quantiles()
    total: Quantiles = Quantiles()
    back: Quantiles = Quantiles()  # from the loss of the transport until in the namespace again


class Worker(msgspec.Struct):
    """The state of one process of the load generator."""

    name: str
    machine: str
    clients_max: int = 0
    cpu_percent: float = 0.0  # of one core, mean over the seconds with clients
    cpu_percent_p95: float = 0.0  # of those seconds
    cpu_percent_max: float = 0.0
    lag_p99_ms: float = 0.0  # how late its loop woke up
    lag_max_ms: float = 0.0
    clock_offset_ms: float = 0.0  # the application's clock less this machine's
    clock_error_ms: float = 0.0  # the offset is this exact, plus or minus; infinity is written as -1
    clock_corrected: bool = False  # several machines: the offset was applied. One machine: its clock as it is
    overloaded: bool = False
    missing: bool = False  # it sent no final report: what its members got is not known


class Generator(msgspec.Struct):
    """Whether the load generator kept up. Where not, `verdict` says that the latencies are its own."""

    healthy: bool = True
    verdict: str = ""
    cpu_limit_percent: float = 85.0
    lag_limit_ms: float = 20.0
    workers: list[Worker] = []


class Step(msgspec.Struct):
    """One step of the ramp. `held`: p99 under the limit, nothing lost, nobody away, and emits at that rate."""

    rate: float  # emits per second that all publishers together are asked for
    emits_per_s: float
    deliveries_per_s: float
    p99_ms: float
    lost: int
    held: bool
    why: str = ""  # why it did not hold
    clients: int = 0  # at most
    disconnects: int = 0  # that nobody had asked for


class Knee(msgspec.Struct):
    """What the ramp found. `rate` is None where no step held."""

    limit_p99_ms: float
    steps: list[Step] = []
    rate: float | None = None
    deliveries_per_s: float = 0.0
    reached: bool = False  # False: the highest step held as well, the knee lies beyond


class Result(msgspec.Struct):
    """All of one run. `version` changes when a reader of version 1 would misread it."""

    scenario: str
    options: dict[str, str | int | float | bool | None]
    started_at: float  # seconds since the epoch
    duration_s: float
    version: Literal[1] = 1
    seconds: list[Second] = []
    totals: Totals = msgspec.field(default_factory=Totals)
    latency: Quantiles = Quantiles()
    latency_by_transport: dict[str, Quantiles] = {}
    acks: dict[str, Quantiles] = {}  # acked event -> round trip
    integrity: Integrity = msgspec.field(default_factory=Integrity)
    losses_allowed: bool = False  # the scenario's word
    connects: Connects = msgspec.field(default_factory=Connects)
    unanswered: dict[str, int] = {}  # acked event -> acks that never came, though the connection held
    disconnects: dict[str, int] = {}  # reason -> count
    disconnects_unasked: int = 0  # of those: neither the client nor the scenario had asked for it
    absent: int = 0  # clients without a connection at the end
    clients_by_io_node: dict[str, int] = {}  # connections that each io-node took, by the name in the sid
    generator: Generator = msgspec.field(default_factory=Generator)
    knee: Knee | None = None
    notes: list[str] = []  # what a reader must know to judge the figures


def encode(result: Result) -> bytes:
    """JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def decode(text: bytes) -> Result:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.json.decode(text, type=Result)
