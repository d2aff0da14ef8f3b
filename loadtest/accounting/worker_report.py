"""What a worker tells the master: each second what happened in it, and at the end all that it accounted.

Times are microseconds of the clock that the workers agree on. Histograms are sparse: bucket -> count.
"""

import msgspec

NEVER = 2**62
"""A time that did not come, such as the end of a stay that lasts until the end of the run."""


class SecondRow(msgspec.Struct):
    """One second of one worker. `at` is that second, counted since the epoch."""

    at: int
    emits: int = 0
    bytes: int = 0
    clients: int = 0
    gaps: int = 0  # since the run began: missing between received ones; some may still come
    disconnects: int = 0  # since the run began: disconnects that neither client nor scenario asked for
    cpu_percent: float = 0.0
    latencies: dict[str, dict[int, int]] = {}  # transport -> histogram


class Beat(msgspec.Struct):
    """Sent with each of locust's own reports, once a second."""

    seconds: list[SecondRow]
    machine: str
    offset_us: int | None  # the application's clock minus this machine's
    error_us: int


class StreamRow(msgspec.Struct, array_like=True):
    """A `member.Stream`, with its publisher."""

    publisher: int
    next: int
    holes: list[tuple[int, int]]
    duplicated: int = 0
    reordered: int = 0


class Stay(msgspec.Struct, array_like=True):
    """One member in one room, from its request to join until its leave was acked or its transport was lost.

    `leaving_us` and `gone_us`: it asked to leave; the leave was acked. A stay whose transport was lost has `cut_us`
    instead of `leaving_us`: when the member was last heard of. Its `gone_us` is when the member asked to join again.
    """

    member: int
    room: int
    asked_us: int
    joined_us: int = NEVER
    leaving_us: int = NEVER
    gone_us: int = NEVER
    cut_us: int | None = None
    excused: bool = False
    unasked: bool = False  # a message came though the member never asked to join
    streams: list[StreamRow] = []


class Emits(msgspec.Struct, array_like=True):
    """All emits of one publisher into one room. The index is the sequence number. `acked_us` 0: no ack came."""

    publisher: int
    room: int
    sent_us: list[int]
    acked_us: list[int]


class Final(msgspec.Struct):
    """The last report of a worker: everything that it kept until the end."""

    machine: str
    stays: list[Stay]
    emits: list[Emits]
    acks: dict[str, dict[int, int]]  # event -> histogram of round trips
    phases: dict[str, dict[int, int]]  # phase of a connect, or "back" -> histogram
    connected: int
    reconnected: int
    failed: dict[str, int]
    disconnects: dict[str, int]
    io_nodes: dict[str, int]
    clients_max: int
    lags: dict[int, int]
    early: int  # deliveries that came before they were sent, by the clocks
    not_published: dict[str, int]  # emits that a scenario wanted and the browser could not send: reason -> count
    absent: int  # members without a connection at the end
    others: int  # events that were not deliveries
    unanswered: dict[str, int]  # event -> acks that never came although the connection held
    unasked_disconnects: int  # neither the client nor the scenario asked for them
    seconds: list[SecondRow] = []
    seconds_dropped: int = 0  # the master was away for longer than they are kept
    offset_us: int | None = None
    error_us: int = 0


def encode(message: Beat | Final) -> bytes:
    return msgspec.msgpack.encode(message)


def decode_beat(data: bytes) -> Beat:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=Beat)


def decode_final(data: bytes) -> Final:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=Final)
