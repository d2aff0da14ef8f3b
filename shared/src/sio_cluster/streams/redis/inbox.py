"""Reading an inbox: one stream, one reader, in order."""

import time

import structlog

from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.appender import INBOX_TTL_MS
from sio_cluster.streams.redis.connection import RedisCommand, raise_first_error
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.scripts.inboxes import FORGET_SILENT, TRIM
from sio_cluster.streams.redis.wire import Reply

log = structlog.get_logger()

_START = b"0-0"
_FIRST_COUNT = 100
_MAX_COUNT = 1000
_REFRESH_S = INBOX_TTL_MS / 1000 / 10


class RedisInboxReader:
    """`api.inboxes.InboxReader`. `max_batch_bytes` bounds what one read brings, roughly: how many entries a read asks
    for follows from the largest entry of the read before."""

    def __init__(self, connections: Connections, keys: Keys, node_id: str, max_batch_bytes: int) -> None:
        self._connections = connections
        self._key = keys.inbox(node_id)
        self._state = Keys.state(self._key)
        self._connection = connections.new_reader()
        self._max_batch_bytes = max_batch_bytes
        self._count = _FIRST_COUNT
        self._last = _START
        self._connection_number = 0
        self._refresh_at = 0.0
        self._read_bytes = 0
        self._trimmed = _START
        self._trimming: tuple[bytes, int] | None = None
        self._last_seq: dict[bytes, bytes] = {}

    async def read(self, block_ms: int) -> list[bytes]:
        number = await self._connection.ready()
        if number != self._connection_number or time.monotonic() >= self._refresh_at:
            await self._find_place()
            self._connection_number = number
            self._refresh_at = time.monotonic() + _REFRESH_S
        block: RedisCommand = ("BLOCK", block_ms) if block_ms > 0 else ()
        command: RedisCommand = ("XREAD", "COUNT", self._count, *block, "STREAMS", self._key, self._last)
        reply = await self._connection.run_alone(command, block_ms)
        raise_first_error([reply])
        return self._take(reply)

    async def trim(self) -> None:
        if self._trimming is None:
            if self._last == self._trimmed:
                return
            self._trimming, self._read_bytes = (self._last, self._read_bytes), 0
        last, size = self._trimming  # kept until it has worked, so that a retry is the same
        await self._connections.run(call(TRIM, (self._key, self._state), last, _following(last), size))
        self._trimmed, self._trimming = last, None

    async def forget_silent(self) -> None:
        [flat] = await self._connections.run(("HGETALL", self._state))
        known = {field: seq for field, seq in zip(flat[::2], flat[1::2], strict=True) if _is_node(field)}
        silent = [word for node, seq in self._last_seq.items() if known.get(node) == seq for word in (node, seq)]
        if silent:
            await self._connections.run(call(FORGET_SILENT, (self._state,), *silent))
        self._last_seq = known

    async def close(self) -> None:
        await self._connections.close_reader(self._connection)

    def _take(self, reply: Reply) -> list[bytes]:
        if not reply:
            return []
        items = reply[0][1]
        entries: list[bytes] = [fields[1] for _, fields in items]
        self._last = items[-1][0]
        self._read_bytes += sum(map(len, entries))
        self._count = max(1, min(_MAX_COUNT, self._max_batch_bytes // max(1, *map(len, entries))))
        return entries

    async def _find_place(self) -> None:
        """Keeps the inbox from expiring, and notices a Redis that lost data. On each new connection, and each minute.

        An inbox without our mark is not the one that we read before: it is read from its beginning. An inbox whose
        newest id is older than the last one that we read has lost its end, because a replica took over: all that is
        left of it has been read.
        """
        commands: list[RedisCommand] = [
            ("XINFO", "STREAM", self._key),
            ("HSETNX", self._state, "reader", 1),
            *[("PEXPIRE", key, INBOX_TTL_MS) for key in (self._key, self._state)],
        ]
        stream, unmarked, *_ = replies = await self._connection.run(commands)
        raise_first_error([reply for reply in replies if isinstance(reply, BusUnavailable)])
        newest = _START if isinstance(stream, BusRefused) else _field(stream, b"last-generated-id")
        place = _START if unmarked == 1 else min(newest, self._last, key=_order)
        if place != self._last:
            log.warning("inbox_lost_entries", inbox=self._key, read=self._last.decode(), place=place.decode())
            self._last = self._trimmed = place
            self._trimming = None


def _field(flat: Reply, name: bytes) -> bytes:
    value: bytes = flat[flat.index(name) + 1]
    return value


def _is_node(field: bytes) -> bool:
    """Whether this field of a stream's state is a node's last sequence number. No other field looks like a node id."""
    return b"-" in field and not field.endswith(b":bar")


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


def _following(entry_id: bytes) -> bytes:
    milliseconds, number = _order(entry_id)
    return b"%d-%d" % (milliseconds, number + 1)
