"""WebSocket frames from server to client, and close codes (RFC 6455)."""

from enum import IntEnum
from typing import Final

TEXT: Final = 0x81
"""First byte of a whole text message: FIN and opcode 1 (RFC 6455 section 5.2)."""
BINARY: Final = 0x82
"""First byte of a whole binary message: FIN and opcode 2."""
CLOSE: Final = 0x88
"""First byte of a close frame: FIN and opcode 8."""
PONG: Final = 0x8A
"""First byte of a pong frame: FIN and opcode 10."""


class CloseCode(IntEnum):
    """Why a WebSocket is closed (RFC 6455 section 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """The node stops."""
    PROTOCOL_ERROR = 1002
    """The peer broke the WebSocket protocol."""
    INVALID_TEXT = 1007
    """A text message is not UTF-8."""
    POLICY_VIOLATION = 1008
    """The peer broke a protocol above WebSocket, or asks for what is not here."""
    TOO_BIG = 1009
    """A message is longer than MAX_PAYLOAD_BYTES."""


def ws_frame(payload: bytes, first_byte: int = TEXT) -> bytes:
    """One unmasked frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 65536:
        return bytes((first_byte, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first_byte, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int) -> bytes:
    """A close frame with this code and no text (RFC 6455 section 5.5.1)."""
    return ws_frame(code.to_bytes(2, "big"), CLOSE)
