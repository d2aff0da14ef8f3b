"""WebSocket frames (RFC 6455 section 5) and compressed messages (RFC 7692): bytes in, messages out, and back.

The reader is the hot path of the load generator. It cuts each text message out of what one `recv` brought, without an
object per frame. A WebSocket library of asyncio cannot serve here, because the browsers run on gevent's hub.
"""

import struct
import zlib
from collections.abc import Callable

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
MAX_MESSAGE_BYTES = 16_000_000
"""A longer message ends the connection, so that a server cannot fill the load generator's memory."""

_WHOLE_TEXT = 0x80 | TEXT
_TAIL = b"\x00\x00\xff\xff"


class FrameError(Exception):
    """The server broke RFC 6455, or sent a message that is too large."""


class FrameReader:
    """Turns received bytes into messages, in order. `frames` counts the frames so far.

    It calls `text(message)` for each text message, and `other(opcode, payload)` for BINARY, CLOSE, PING and PONG.
    `text` may be replaced at any time. After `stop`, which these callbacks may call too, it calls nothing.
    """

    __slots__ = ("_inflate", "_opcode", "_other", "_parts", "_rest", "_stopped", "frames", "text")

    def __init__(self, text: Callable[[bytes], None], other: Callable[[int, bytes], None]) -> None:
        self.frames = 0
        self.text = text
        self._other = other
        self._rest = b""
        self._stopped = False
        self._inflate: Inflate | None = None
        self._opcode = 0  # of the fragmented message under way, with RSV1 of its first frame
        self._parts: list[bytes] = []

    def use(self, inflate: "Inflate") -> None:
        """The server agreed to permessage-deflate."""
        self._inflate = inflate

    def stop(self) -> None:
        self._stopped = True

    def feed(self, data: bytes) -> None:
        """Takes received bytes. Raises FrameError; the connection is of no use then."""
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        while end - position >= 2:
            size = data[position + 1]
            start = position + 2
            if size > 125:
                if size > 127:
                    raise FrameError("a masked frame")
                start += 2 if size == 126 else 8
                if start > end:
                    break
                size = int.from_bytes(data[position + 2 : start], "big")
                if size > MAX_MESSAGE_BYTES:
                    raise FrameError(f"a frame of {size} bytes")
            stop = start + size
            if stop > end:
                break
            self.frames += 1
            if data[position] == _WHOLE_TEXT and not self._parts:
                self.text(data[start:stop])
            else:
                self._uncommon(data[position], data[start:stop])
            position = stop
            if self._stopped:
                return
        self._rest = data[position:] if position else data

    def _uncommon(self, first: int, payload: bytes) -> None:
        """Fragments, control frames, binary and compressed messages."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            self._other(opcode, payload)
            return
        if (opcode == CONTINUATION) != bool(self._parts):
            raise FrameError("a continuation of nothing, or a message within another")
        if opcode != CONTINUATION:
            self._opcode = first & 0x4F
        self._parts.append(payload)
        if sum(map(len, self._parts)) > MAX_MESSAGE_BYTES or len(self._parts) > 10_000:
            raise FrameError("a message too large")
        if first & 0x80:
            message = b"".join(self._parts)
            self._parts.clear()
            self._message(self._opcode, message)

    def _message(self, opcode: int, message: bytes) -> None:
        if opcode & 0x40:
            if self._inflate is None:
                raise FrameError("a compressed frame that was not agreed on")
            message = self._inflate(message)
        if opcode & 0x0F == TEXT:
            self.text(message)
        else:
            self._other(opcode & 0x0F, message)


class Inflate:
    """Decompresses a server's messages (RFC 7692 section 7.2.2). `takeover`: each message continues the last one's."""

    __slots__ = ("_context", "_takeover")

    def __init__(self, *, takeover: bool) -> None:
        self._takeover = takeover
        self._context = zlib.decompressobj(-15)

    def __call__(self, message: bytes) -> bytes:
        if not self._takeover:
            self._context = zlib.decompressobj(-15)
        try:
            plain = self._context.decompress(message + _TAIL, MAX_MESSAGE_BYTES)
        except zlib.error as error:
            raise FrameError(f"a compressed message: {error}") from error
        if self._context.unconsumed_tail:
            raise FrameError("a compressed message too large")
        return plain


def masked(opcode: int, payload: bytes, key: bytes) -> bytes:
    """A whole frame as a client writes it, masked with these four bytes."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, size)
    pad = (key * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
    return head + key + mixed.to_bytes(size, "big")
