"""What a session wants done. Its owner carries these effects out, in the order in which the session returns them."""

from typing import TypeAlias

import msgspec

from io_node.engineio.wire.frames import CloseCode
from io_node.engineio.wire.packets import Message
from sio_cluster.protocol import reasons


class AnswerPoll(msgspec.Struct, frozen=True, gc=False):
    """Answer the poll that waits with this payload."""

    payload: bytes


class WriteSocket(msgspec.Struct, frozen=True, gc=False):
    """Write these complete frames to the session's WebSocket."""

    frames: bytes


class CloseSocket(msgspec.Struct, frozen=True, gc=False):
    """Close the session's WebSocket with this code, after what was written. None: drop the connection at once."""

    code: int | None

    @staticmethod
    def because_of(reason: str) -> "CloseSocket":
        """With the code for this end of a session. None where the client does not read, so that nobody would see it.

        So it is when the client has come back on another connection, and this one still looks open: its end is told as
        that of a connection that was closed from outside.
        """
        match reason:
            case reasons.SLOW_CONSUMER | reasons.TRANSPORT_CLOSE:
                return CloseSocket(None)
            case reasons.NODE_DRAINED:
                return CloseSocket(CloseCode.GOING_AWAY)
            case reasons.PARSE_ERROR | reasons.TRANSPORT_ERROR:
                return CloseSocket(CloseCode.POLICY_VIOLATION)
            case _:
                return CloseSocket(CloseCode.NORMAL)


class PartSocket(msgspec.Struct, frozen=True, gc=False):
    """Send a close frame with this code on the session's WebSocket, and read on until the client has answered it."""

    code: int


class WriteProbe(msgspec.Struct, frozen=True, gc=False):
    """Write these complete frames to the WebSocket that probes."""

    frames: bytes


class CloseProbe(msgspec.Struct, frozen=True, gc=False):
    """Close the WebSocket that probes: the upgrade failed."""


class Upgraded(msgspec.Struct, frozen=True, gc=False):
    """From now on the WebSocket that probed is the session's."""


class FlushLater(msgspec.Struct, frozen=True, gc=False):
    """More waits than leaves in one go: call `flush` again in a later turn."""


class Watch(msgspec.Struct, frozen=True, gc=False):
    """Something waits for a client that does not poll: call `watch`, which begins to look for progress."""


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The session is over. It comes once, and no effect follows it."""

    reason: str


Effect: TypeAlias = (
    Message
    | AnswerPoll
    | WriteSocket
    | CloseSocket
    | PartSocket
    | WriteProbe
    | CloseProbe
    | Upgraded
    | FlushLater
    | Watch
    | Closed
)
