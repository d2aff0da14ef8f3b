"""Reading an inbox: one stream, one reader, in order."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.inboxes import InboxEntry, RoomOp, order
from sio_cluster.streams.redis.appender import INBOX_TTL_MS
from sio_cluster.streams.redis.connection import RedisCommand, pack, raise_first_error
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.rooms import encode_room
from sio_cluster.streams.redis.scripts.homes import FORGET_LOG, LOST
from sio_cluster.streams.redis.scripts.inboxes import FORGET_SILENT, GIVE_BACK_READ, TRIM
from sio_cluster.streams.redis.wire import Reply

log = structlog.get_logger()

LOG_TTL_MS = 86_400_000
"""As INBOX_TTL_MS, for a log: a client may come back for so long."""

START = b"0-0"
FIRST_COUNT = 100
_MAX_COUNT = 1000
_REFRESH_S = INBOX_TTL_MS / 1000 / 10


class RedisInboxReader:
    """`api.inboxes.InboxReader`. `max_batch_bytes` bounds what one read brings, roughly: how many entries a read asks
    for follows from the largest entry of the read before."""

    def __init__(
        self, connections: Connections, keys: Keys, node_id: str, max_batch_bytes: int, *, keeps_log: bool = False
    ) -> None:
        self._connections = connections
        self._key = keys.inbox(node_id)
        self._state = Keys.state(self._key)
        self._interest = Keys.interest(self._key)
        self._log = log_of(keys, node_id)
        self._keeps_log = keeps_log
        self._connection = connections.new_reader()
        self._max_batch_bytes = max_batch_bytes
        self._count = FIRST_COUNT
        self._last = START
        self._connection_number = 0
        self._refresh_at = 0.0
        self._read_bytes = 0
        self._trimmed = START
        self._trimming: tuple[bytes, int] | None = None
        self._last_seq: Mapping[str, int] = {}

    async def read(self, block_ms: int) -> list[InboxEntry]:
        number = await self._connection.ready()
        if number != self._connection_number or time.monotonic() >= self._refresh_at:
            await self._find_place(is_new=number != self._connection_number)
            self._connection_number = number
            self._refresh_at = time.monotonic() + _REFRESH_S
        command = xread(self._key, self._last, self._count, block_ms)
        [reply] = await self._connection.run_alone(pack([command]), 1, block_ms)
        raise_first_error([reply])
        return self._take(reply)

    async def trim(self) -> None:
        if self._trimming is None:
            if self._last == self._trimmed:
                return
            self._trimming, self._read_bytes = (self._last, self._read_bytes), 0
        last, size = self._trimming  # kept until it has worked, so that a retry is the same
        keys = (self._key, self._state)
        if self._keeps_log:
            await self._connections.run(call(GIVE_BACK_READ, keys, last, size))
        else:
            await self._connections.run(call(TRIM, keys, last, following(last), size))
        self._trimmed, self._trimming = last, None

    async def forget_log(self, up_to: bytes, ops: Sequence[RoomOp]) -> None:
        await self._connections.run(self._log.forget(up_to, ops))

    async def forget_silent(self) -> None:
        self._last_seq = await forget_silent(self._connections, self._state, self._last_seq)

    async def close(self) -> None:
        await self._connections.close_reader(self._connection)

    def _take(self, reply: Reply) -> list[InboxEntry]:
        if not reply:
            return []
        entries = entries_of(reply[0][1])
        self._last = entries[-1].id
        self._read_bytes += sum([len(entry.entry) for entry in entries])
        self._count = next_count(entries, self._max_batch_bytes)
        return entries

    async def _find_place(self, *, is_new: bool) -> None:
        """Keeps the inbox from expiring, and notices a Redis that lost data. On each new connection, and each minute.

        A Redis on a new connection may have lost entries that we have carried out, and with them what was noted of
        rooms: nobody believes that account any more.

        An inbox without our mark is not the one that we read before: it is read from its beginning. An inbox whose
        newest id is older than the last one that we read has lost its end, because a replica took over: all that is
        left of it has been read. A parked one does not expire.
        """
        stream, unmarked, parked, *_ = replies = await self._connection.run([
            ("XINFO", "STREAM", self._key),
            ("HSETNX", self._state, "reader", secrets.token_hex(8)),
            ("HEXISTS", self._state, "parked"),
            *([("DEL", self._interest)] if is_new else []),
        ])  # fmt: skip
        raise_first_error([reply for reply in replies if isinstance(reply, BusUnavailable)])
        if parked == 0:
            ttl_ms = LOG_TTL_MS if self._keeps_log else INBOX_TTL_MS
            kept = (self._key, self._state, self._interest)
            expiries: list[RedisCommand] = [("PEXPIRE", key, ttl_ms) for key in kept]
            raise_first_error([r for r in await self._connection.run(expiries) if isinstance(r, BusUnavailable)])
        newest = START if isinstance(stream, BusRefused) else last_id(stream)
        place = START if unmarked == 1 else min(newest, self._last, key=order)
        if place == self._last:
            return
        log.warning("inbox_lost_entries", inbox=self._key, read=self._last.decode(), place=place.decode())
        if self._keeps_log:
            await self._connections.run(call(LOST, (self._key, self._state), self._last))
        self._last = self._trimmed = place
        self._trimming, self._read_bytes = None, 0


async def forget_silent(connections: Connections, state: str, last_seq: Mapping[str, int]) -> Mapping[str, int]:
    """Forgets those in this inbox' state whose sequence number still is that of `last_seq`. Returns all numbers."""
    [flat] = await connections.run(("HGETALL", state))
    known = {field.decode(): int(seq) for field, seq in zip(flat[::2], flat[1::2], strict=True) if _is_node(field)}
    silent = [word for node, seq in last_seq.items() if known.get(node) == seq for word in (node, seq)]
    if silent:
        await connections.run(call(FORGET_SILENT, (state,), *silent))
    return known


@dataclass(frozen=True, slots=True)
class Log:
    """The keys of a home's log: its inbox, the inbox' state, who is at home, who is away, and how the keys begin that
    hold the rooms of each client at the horizon."""

    inbox: str
    state: str
    clients: str
    away: str
    rooms: str

    def forget(self, up_to: bytes, ops: Sequence[RoomOp] | None, *, if_parked: bool = False) -> RedisCommand:
        """The command that moves the horizon."""
        words = [word for op in ops or () for word in (op.sid, encode_room(op.room), int(op.inside))]
        keys = (self.inbox, self.state, self.clients, self.away)
        known = int(ops is not None)
        return call(FORGET_LOG, keys, up_to, following(up_to), self.rooms, int(if_parked), known, *words)


def log_of(keys: Keys, home: str) -> Log:
    """The keys of this home's log."""
    inbox = keys.inbox(home)
    return Log(inbox, Keys.state(inbox), keys.clients(home), keys.away(home), keys.rooms_at_horizon(home, ""))


def xread(key: str, after: bytes, count: int, block_ms: int) -> RedisCommand:
    """Reads a stream behind an id. 0 does not block."""
    block: RedisCommand = ("BLOCK", block_ms) if block_ms > 0 else ()
    return ("XREAD", "COUNT", count, *block, "STREAMS", key, after)


def entries_of(items: Reply) -> list[InboxEntry]:
    """The entries in an answer."""
    return [InboxEntry(entry_id, fields[1]) for entry_id, fields in items]


def next_count(entries: Sequence[InboxEntry], max_bytes: int) -> int:
    """For how many entries the next read may ask, after one that brought these."""
    return max(1, min(_MAX_COUNT, max_bytes // max(1, *[len(entry.entry) for entry in entries])))


def last_id(stream: Reply) -> bytes:
    """The newest id of a stream, by an answer of XINFO STREAM."""
    newest: bytes = stream[stream.index(b"last-generated-id") + 1]
    return newest


def following(entry_id: bytes) -> bytes:
    """The id after this one."""
    milliseconds, number = order(entry_id)
    return b"%d-%d" % (milliseconds, number + 1)


def _is_node(field: bytes) -> bool:
    """Whether this field of a stream's state is a node's last sequence number. No other field looks like a node id."""
    return b"-" in field and not field.endswith(b":bar")
