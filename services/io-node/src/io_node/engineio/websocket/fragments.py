"""A message that comes in several frames (RFC 6455 section 5.4)."""

from picows.picows import WSFrame


class Fragments:
    """The frames of one message, as far as they have come."""

    __slots__ = ("_counted", "_data", "_text")

    def __init__(self, *, text: bool) -> None:
        self._text = text
        self._data = bytearray()
        self._counted = 0

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return len(self._data)

    def add(self, frame: WSFrame, most_bytes: int) -> bool:
        """Take the next frame. False: the message is longer than `most_bytes`.

        An empty fragment counts as one byte, so that a flood of them ends at the bound too.
        """
        self._counted += max(frame.payload_size, 1)
        if self._counted > most_bytes:
            return False
        self._data += frame.get_payload_as_memoryview()
        return True

    def joined(self) -> str | bytes:
        """The whole message. Raises UnicodeDecodeError where it is text and not UTF-8."""
        return self._data.decode() if self._text else bytes(self._data)
