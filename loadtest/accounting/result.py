"""The outcome of one run, as `result.json` has it. Lists are in the order in which things happened."""

from typing import Literal

import msgspec

LIVE = "@live "
"""Begins a line of locust's output that holds a `Snapshot`."""


class Quantiles(msgspec.Struct, frozen=True):
    """Quantiles of `count` values in milliseconds, each at most 1 % off. All are 0 where there are no values."""

    count: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


class Second(msgspec.Struct):
    """One second of the run, all workers together. `t` counts seconds since the start."""

    t: int
    emits: int = 0
    deliveries: int = 0
    bytes: int = 0  # of the packets delivered
    clients: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0


class Snapshot(msgspec.Struct, frozen=True):
    """The last second that all workers reported, for the progress line and the web interface.

    `lost` is what seems lost since the run began. Some of it may still come; the result at the end is exact.
    """

    t: int = 0  # seconds since the start
    clients: int = 0
    emits_per_s: int = 0
    deliveries_per_s: int = 0
    bytes_per_s: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    lost: int = 0

    @classmethod
    def of(cls, s: Second, lost: int) -> "Snapshot":
        return cls(s.t, s.clients, s.emits, s.deliveries, s.bytes, s.p50_ms, s.p95_ms, s.p99_ms, lost)

    def line(self) -> str:
        """JSON behind `LIVE`."""
        return LIVE + msgspec.json.encode(self).decode()


class Totals(msgspec.Struct):
    """Sums of the whole run. Rates per second are over `busy_s`, the seconds in which anything was delivered."""

    emits: int = 0
    deliveries: int = 0
    bytes: int = 0
    busy_s: int = 0
    deliveries_per_s: float = 0.0
    megabytes_per_s: float = 0.0  # 10^6 bytes
    fan_out: float = 0.0  # deliveries per emit
    clients_max: int = 0


class Flaw(msgspec.Struct, frozen=True):
    """What went wrong with the messages of one publisher to one room, summed over all members."""

    publisher: int
    room: int  # 0: broadcast
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    first_lost_seq: int | None = None


class Integrity(msgspec.Struct):
    """Each emit is compared with each member of its room.

    A delivery is due when the member's join was acked before the emit, and the emit was acked before the member asked
    to leave or lost its transport. An emit without an ack counts as acked if any member received it.

    lost          due, and not received
    uncertain     not received, and nobody can say whether it was due: it was under way while the member joined, left
                  or reconnected, or its emit was never acked
    excused       not received by a member that the scenario keeps from reading
    duplicated    received again
    reordered     received after a later message of the same publisher in the same room
    misdelivered  received by a client that was not in the room, or sent after its leave was acked
    unknown       from a publisher that this run does not have
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
    """How clients connected. The phases are the Engine.IO handshake, the upgrade, and CONNECT to the namespace."""

    succeeded: int = 0
    reconnected: int = 0
    failed: dict[str, int] = {}  # reason -> count
    handshake: Quantiles = Quantiles()
    upgrade: Quantiles = Quantiles()
    connect: Quantiles = Quantiles()
    total: Quantiles = Quantiles()
    back: Quantiles = Quantiles()  # from the loss of the transport until the client is in the namespace again


class Worker(msgspec.Struct):
    """One process of the load generator."""

    name: str
    machine: str
    clients_max: int = 0
    cpu_percent: float = 0.0  # of one core, mean over the seconds with clients
    cpu_percent_p95: float = 0.0  # of those seconds
    cpu_percent_max: float = 0.0
    lag_p99_ms: float = 0.0  # how late its loop woke up
    lag_max_ms: float = 0.0
    clock_offset_ms: float = 0.0  # the application's clock minus this machine's
    clock_error_ms: float = 0.0  # the offset is exact to plus or minus so much; -1: it is not known
    clock_corrected: bool = False  # the offset was applied, because there were several machines
    overloaded: bool = False
    missing: bool = False  # it sent no final report, so what its members got is not known


class Generator(msgspec.Struct):
    """Whether the load generator kept up. Where it did not, `verdict` says that the latencies are its own."""

    healthy: bool = True
    verdict: str = ""
    cpu_limit_percent: float = 85.0
    lag_limit_ms: float = 20.0
    workers: list[Worker] = []


class Step(msgspec.Struct):
    """One step of the ramp. It held when p99 was under the limit, nothing was lost, nobody was away, and the emits were
    as many as asked for."""

    rate: float  # emits per second that all publishers together are asked for
    emits_per_s: float
    deliveries_per_s: float
    p99_ms: float
    lost: int
    held: bool
    why: str = ""  # why it did not hold
    clients: int = 0  # the most at any time
    disconnects: int = 0  # nobody asked for them


class Knee(msgspec.Struct):
    """What the ramp found: the highest rate that held, or None where no step held."""

    limit_p99_ms: float
    steps: list[Step] = []
    rate: float | None = None
    deliveries_per_s: float = 0.0
    reached: bool = False  # False: the last step held too, so the knee is higher


class Result(msgspec.Struct):
    """All of one run. `version` changes when a reader of version 1 would misread the new form."""

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
    losses_allowed: bool = False  # the scenario loses messages on purpose
    connects: Connects = msgspec.field(default_factory=Connects)
    unanswered: dict[str, int] = {}  # acked event -> acks that never came although the connection held
    disconnects: dict[str, int] = {}  # reason -> count
    disconnects_unasked: int = 0  # those that neither the client nor the scenario asked for
    absent: int = 0  # clients without a connection at the end
    clients_by_io_node: dict[str, int] = {}  # connections that each io-node took; its name stands in the sid
    generator: Generator = msgspec.field(default_factory=Generator)
    knee: Knee | None = None
    notes: list[str] = []  # what a reader must know to judge the figures


def encode(result: Result) -> bytes:
    """JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def decode(text: bytes) -> Result:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.json.decode(text, type=Result)
