"""What a worker tells the master: each second what happened in it, and at the end everything that was accounted.

Times are microseconds of the clock that the workers agreed on. Histograms are sparse: bucket -> count.
"""

import msgspec

NEVER = 2**62
"""A time that does not come: a member that is still there at the end."""


class SecondRow(msgspec.Struct):
    """One second of one worker; `at`: that second, since the epoch."""

    at: int
    emits: int = 0
    bytes: int = 0
    clients: int = 0
    gaps: int = 0  # missing so far between received ones; some may still come
    disconnects: int = 0  # so far, that neither client nor scenario had asked for
    cpu_percent: float = 0.0
    latencies: dict[str, dict[int, int]] = {}  # transport -> histogram


class Beat(msgspec.Struct):
    """Goes with each of locust's reports."""

    seconds: list[SecondRow]
    machine: str
    offset_us: int | None  # the application's clock less this machine's
    error_us: int


class StreamRow(msgspec.Struct, array_like=True):
    """A Stream (see there) of one publisher."""

    publisher: int
    next: int
    holes: list[tuple[int, int]]
    duplicated: int = 0
    reordered: int = 0


class Stay(msgspec.Struct, array_like=True):
    """One member in one room, from the request to join until the answer to its leave, or until its transport was lost.

    `cut_us`: in place of a leave, its transport went, and until here it was heard of. `gone_us`: after a leave, when
    that was acked; after a cut, when it was back in the room; NEVER while it is there or stays away.
    """

    member: int
    room: int
    asked_us: int
    joined_us: int = NEVER
    leaving_us: int = NEVER
    gone_us: int = NEVER
    cut_us: int | None = None
    excused: bool = False
    unasked: bool = False  # begun by a message, without a request to join
    streams: list[StreamRow] = []


class Emits(msgspec.Struct, array_like=True):
    """All emits of one publisher into one room; the index is the sequence. `acked_us` 0: no ack came."""

    publisher: int
    room: int
    sent_us: list[int]
    acked_us: list[int]


class Final(msgspec.Struct):
    """All that a worker kept until the end."""

    machine: str
    stays: list[Stay]
    emits: list[Emits]
    acks: dict[str, dict[int, int]]
    phases: dict[str, dict[int, int]]  # of connects, and "back"
    connected: int
    reconnected: int
    failed: dict[str, int]
    disconnects: dict[str, int]
    io_nodes: dict[str, int]
    clients_max: int
    lags: dict[int, int]
    early: int  # deliveries that came before they were sent, as the clocks have it
    not_published: dict[str, int]  # emits that the scenario wanted and the browser could not send: reason -> count
    absent: int  # members without a connection at the end
    others: int  # events that were not deliveries
    unanswered: dict[str, int]  # acked events whose ack never came, though the connection held
    unasked_disconnects: int  # of clients that had not asked for it, and that the scenario had not cut off
    seconds: list[SecondRow] = []
    seconds_dropped: int = 0  # while the master was away for too long
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
