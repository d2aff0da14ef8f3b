"""What a session wants done: the outputs of the machine in `session`, in the order in which it returns them."""

from typing import TypeAlias

import msgspec

from io_node.engineio.packets import Message


class AnswerPoll(msgspec.Struct, frozen=True, gc=False):
    """The waiting poll's response."""

    payload: bytes


class WriteSocket(msgspec.Struct, frozen=True, gc=False):
    """Complete frames for the WebSocket that carries the session."""

    frames: bytes


class CloseSocket(msgspec.Struct, frozen=True, gc=False):
    """Close the WebSocket that carries the session: with this code after what was written, or at once if None."""

    code: int | None


class PartSocket(msgspec.Struct, frozen=True, gc=False):
    """Say on the WebSocket that carries the session that nothing follows, and go on reading until the client agrees."""

    code: int


class WriteProbe(msgspec.Struct, frozen=True, gc=False):
    """Complete frames for the WebSocket that probes."""

    frames: bytes


class CloseProbe(msgspec.Struct, frozen=True, gc=False):
    """The upgrade failed: close the WebSocket that probes."""


class Upgraded(msgspec.Struct, frozen=True, gc=False):
    """The WebSocket that probed carries the session from now on."""


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The session is over. Comes once, and no effect follows it."""

    reason: str


Effect: TypeAlias = (
    Message | AnswerPoll | WriteSocket | CloseSocket | PartSocket | WriteProbe | CloseProbe | Upgraded | Closed
)
