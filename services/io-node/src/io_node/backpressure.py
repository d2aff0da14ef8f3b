"""Who is not read for now, and why. Whatever is full stops reading from those who fill it, so that TCP pushes back.

    backpressure = Backpressure()
    buffer_full: Paused = {}                          one reason to pause, and who is paused for it
    backpressure.pause(buffer_full, connection)       the connection is not read
    backpressure.release_all(buffer_full)             it is read again, unless there is another reason

Three parts of the node pause connections:

- `bus.uplink`, when its buffer or a stream is full;
- `bus.fairness`, when few connections flood a lane;
- `socketio.throttle`, when too much waits behind CONNECT_RATE.
"""

from collections.abc import Iterable
from typing import Protocol, TypeAlias, assert_never

from sio_cluster.protocol.messages import (
    AckExpected,
    AckMissed,
    AckReceived,
    ClientConnected,
    ClientDisconnected,
    ClientUpgraded,
    EventReceived,
    RoomChanged,
    UplinkItem,
)

_FACT_BYTES = 100
_SID_BYTES = 40
"""What a fact weighs besides its payload, roughly: its sid and its tag on the wire, its objects in memory."""


class Sender(Protocol):
    """The connection that a fact comes from."""

    def pause_reading(self) -> None:
        """Read nothing from the client until `resume_reading`. Idempotent."""

    def resume_reading(self) -> None:
        """Read again. Idempotent."""


Paused: TypeAlias = dict[Sender, None]
"""One reason to pause: the connections that are not read because of it, in the order in which they were paused."""


class Backpressure:
    """Guarantee: a connection is read exactly while no reason to pause it is left.

    Bound: an entry for each connection and reason. `forget` removes those of a connection that closes.
    """

    def __init__(self) -> None:
        self.pauses = 0
        """How often reading from a connection was paused, since the process started."""
        self._reasons: dict[Sender, list[Paused]] = {}

    def __len__(self) -> int:
        """How many connections are not read for now."""
        return len(self._reasons)

    def pause(self, reason: Paused, sender: Sender) -> None:
        """Do not read from this connection, for this reason, until it is released or forgotten. Idempotent."""
        if sender in reason:
            return
        reason[sender] = None
        reasons = self._reasons.setdefault(sender, [])
        reasons.append(reason)
        if len(reasons) == 1:
            self.pauses += 1
            sender.pause_reading()

    def release(self, reason: Paused, senders: Iterable[Sender]) -> None:
        """This reason is gone for these connections. Each is read again unless another reason is left."""
        for sender in senders:
            del reason[sender]
            reasons = self._reasons[sender]
            reasons.remove(reason)  # compares contents; only this one does not hold the sender any more
            if not reasons:
                del self._reasons[sender]
                sender.resume_reading()

    def release_all(self, reason: Paused) -> None:
        """This reason is gone for everybody."""
        self.release(reason, list(reason))

    def forget(self, sender: Sender) -> None:
        """The connection has closed. It is not read again."""
        for reason in self._reasons.pop(sender, ()):
            del reason[sender]


def size_of(fact: UplinkItem) -> int:
    """What a fact weighs where bounds are counted: roughly its bytes on the wire."""
    match fact:
        case EventReceived() | AckReceived():
            size = _FACT_BYTES + len(fact.data)
            return size + sum(map(len, fact.attachments)) if fact.attachments else size
        case ClientConnected():
            handshake = fact.handshake
            headers = sum(len(name) + len(value) + 16 for name, value in handshake.headers)
            return _FACT_BYTES + headers + len(handshake.query) + len(fact.namespace) + len(fact.auth or b"")
        case ClientUpgraded() | RoomChanged() | ClientDisconnected() | AckMissed():
            return _FACT_BYTES
        case AckExpected():
            return _FACT_BYTES + _SID_BYTES * (len(fact.sids) + len(fact.elsewhere) + len(fact.away))
        case _:
            assert_never(fact)
