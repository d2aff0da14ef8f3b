"""Redis, with as little as it takes: one protocol, a loop of blocking reads, and writes one after the other."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import hiredis

LANE = b"lane"
INBOX = b"inbox:%b"
"""With the number of the io process."""
BROUGHT = b"b"
"""The only field of an entry."""

Entry: TypeAlias = list[Any]
"""As Redis sends it: the entry's id, and a list of the field's name and its value."""

_TRIM_READS = 64
_INCOMPLETE = object()


class Wire(asyncio.Protocol):
    """One connection to Redis. Each answer goes to `took`.

    If Redis refuses a command, or the connection is lost, `broken` gets the error: the process should end then.
    """

    def __init__(self, took: Callable[[Any], None], broken: asyncio.Future[None]) -> None:
        self.write: Callable[[bytes], None]
        self._took = took
        self._broken = broken
        self._replies = hiredis.Reader(notEnoughData=_INCOMPLETE)

    def connection_made(self, transport: Any) -> None:
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        replies, took = self._replies, self._took
        replies.feed(data)
        while (reply := replies.gets()) is not _INCOMPLETE:
            if isinstance(reply, hiredis.ReplyError):
                self._break(reply)
            else:
                took(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(exc or ConnectionError("Redis has closed the connection"))

    def _break(self, error: Exception) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)


class Reader:
    """Reads a stream from its first entry on, so that nothing is lost that was there before. `took` gets what one read
    brings, and the next read begins when it has returned: what comes meanwhile travels together.

    `trims`: each 64th read also removes from the stream what was read.
    """

    def __init__(self, stream: bytes, took: Callable[[list[Entry]], None], *, trims: bool) -> None:
        self._stream = stream
        self._took = took
        self._trims = trims
        self._wire: Wire
        self._last = b"0"
        self._reads = 0

    async def start(self, redis_port: int, broken: asyncio.Future[None]) -> None:
        """Connects, and begins."""
        self._wire = await _connect(redis_port, self._answered, broken)
        self._read()

    def _answered(self, reply: Any) -> None:
        if isinstance(reply, int):  # how many entries were trimmed
            return
        entries: list[Entry] = reply[0][1]
        self._last = entries[-1][0]
        self._took(entries)
        self._read()

    def _read(self) -> None:
        self._reads += 1
        if self._trims and self._reads % _TRIM_READS == 0:
            self._wire.write(pack(b"XTRIM", self._stream, b"MINID", self._last))
        self._wire.write(pack(b"XREAD", b"BLOCK", b"0", b"STREAMS", self._stream, self._last))


class Writer:
    """Writes commands, and nothing more until all of them are answered.

    `gather` returns the commands that are due, packed. It returns none if nothing is.
    """

    def __init__(self, gather: Callable[[], Sequence[bytes]]) -> None:
        self._gather = gather
        self._wire: Wire
        self._unanswered = 0

    async def start(self, redis_port: int, broken: asyncio.Future[None]) -> None:
        """Connects."""
        self._wire = await _connect(redis_port, self._answered, broken)

    def flush(self) -> None:
        """Writes what has gathered: now, or when the last write is answered."""
        if not self._unanswered and (commands := self._gather()):
            self._unanswered = len(commands)
            self._wire.write(b"".join(commands))

    def _answered(self, reply: Any) -> None:
        self._unanswered -= 1
        self.flush()


def pack(*words: bytes) -> bytes:
    """One command as Redis reads it."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # stub: 1-tuple
    return packed


async def _connect(redis_port: int, took: Callable[[Any], None], broken: asyncio.Future[None]) -> Wire:
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire(took, broken), "127.0.0.1", redis_port)
    return wire
