"""The Redis in which other programs write for a bridge: their channels, their stream, and the lease of the bridges.

It may be another server than that of the cluster, so it has connections of its own.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.address import parse
from sio_cluster.streams.redis.connection import ANSWER_TIMEOUT_S, Connection, RedisCommand, pack, raise_first_error
from sio_cluster.streams.redis.scripts.bridges import FREE_LEASE, HOLD_LEASE, READ_STREAM, SAVE_POSITION
from sio_cluster.streams.redis.scripts.script import Script
from sio_cluster.streams.redis.wire import Reply


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a stream was read. `read`: how many entries that are, of all that were ever added to it."""

    id: str
    read: int


@dataclass(frozen=True, slots=True)
class StreamPage:
    """The next entries of a stream, and what Redis knows of it at that moment."""

    added: int
    length: int
    last_id: str
    entries: list[tuple[str, dict[bytes, bytes]]]

    @property
    def trimmed(self) -> int:
        """How many entries were removed, the oldest first."""
        return self.added - self.length


class BridgedRedis:
    """One connection for commands, one for a blocking read. All methods raise BusError where Redis is away."""

    def __init__(self, address: str, keys: Keys, bridge_id: str) -> None:
        """No IO here. Raises ConfigError where the address is malformed."""
        self._address = address
        self._keys = keys
        self._id = bridge_id
        self._commands = Connection(address)
        self._blocked = Connection(address)

    async def hold_lease(self, lease_ms: int) -> bool:
        """Whether this bridge is the active one, from now on for `lease_ms`."""
        return bool(await self._run(HOLD_LEASE, [self._keys.bridge_lease], self._id, lease_ms))

    async def free_lease(self) -> None:
        """Lets another bridge become the active one at once."""
        await self._run(FREE_LEASE, [self._keys.bridge_lease], self._id)

    async def position(self, stream: str) -> Position | None:
        """Up to where the stream was read. None: no bridge has read it."""
        [found] = await self._ask(("HMGET", self._keys.bridge_position(stream), "id", "read"))
        return None if found[0] is None else Position(found[0].decode(), int(found[1]))

    async def save_position(self, stream: str, position: Position) -> bool:
        """False, and nothing is changed, where another bridge is the active one."""
        keys = [self._keys.bridge_lease, self._keys.bridge_position(stream)]
        return bool(await self._run(SAVE_POSITION, keys, self._id, position.id, position.read))

    async def page(self, stream: str, after: str, count: int) -> StreamPage:
        """At most `count` entries behind the id `after`, none where it is 0."""
        added, length, last_id, entries = await self._run(READ_STREAM, [stream], after, count)
        return StreamPage(added, length, last_id.decode(), [_entry(*entry) for entry in entries])

    async def wait(self, stream: str, after: str, block_ms: int) -> None:
        """Returns when the stream has an entry behind this id, or after `block_ms`."""
        command = ("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", stream, after)
        raise_first_error(await self._blocked.run_alone(pack([command]), 1, block_ms))

    def listen(self, channels: Sequence[str], beginnings: Sequence[str]) -> "Listener":
        """Hears these channels, and those that begin so. `Listener.open` does the IO."""
        return Listener(self._address, channels, beginnings)

    async def close(self) -> None:
        """Closes both connections. Idempotent."""
        await self._commands.close()
        await self._blocked.close()

    async def _run(self, script: Script, keys: Sequence[str], *arguments: str | int) -> Reply:
        """By its source: a bridge calls a script a few times a second, and needs not load it first."""
        [reply] = await self._ask(("EVAL", script.source, len(keys), *keys, *arguments))
        return reply

    async def _ask(self, command: RedisCommand) -> list[Reply]:
        replies = await self._commands.run([command])
        raise_first_error(replies)
        return replies


class Listener:
    """A subscription. It ends with its connection: what is said until another one is open is lost, as with any."""

    def __init__(self, address: str, channels: Sequence[str], beginnings: Sequence[str]) -> None:
        parse(address)
        self._channels = [*channels]
        self._patterns = [_escaped(beginning) + "*" for beginning in beginnings]
        self._redis = Redis.from_url(
            address,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=ANSWER_TIMEOUT_S,
            health_check_interval=ANSWER_TIMEOUT_S,
        )
        self._pubsub: PubSub | None = None
        self._lost: BusUnavailable | None = None

    async def open(self) -> None:
        """Returns when Redis has confirmed all of it. Raises BusUnavailable."""
        pubsub = self._pubsub = self._redis.pubsub()
        try:
            if self._channels:
                await pubsub.subscribe(*self._channels)
            if self._patterns:
                await pubsub.psubscribe(*self._patterns)
            for _ in range(len(self._channels) + len(self._patterns)):
                if await pubsub.get_message(timeout=ANSWER_TIMEOUT_S) is None:
                    raise BusUnavailable("Redis has not confirmed a subscription in time")
        except (RedisError, OSError) as error:
            raise BusUnavailable(f"cannot subscribe: {error}") from error
        finally:
            _end_where_cancelled()

    async def next(self, timeout_s: float, most: int) -> list[tuple[str, bytes]]:
        """What has been said, each with its channel: at most so many. [] after `timeout_s`.

        Raises BusUnavailable where the connection was lost, from then on always: redis-py would subscribe again without
        a word, and nobody would know that something was missed.
        """
        if self._lost is not None:
            raise self._lost
        heard: list[tuple[str, bytes]] = []
        try:
            while len(heard) < most:
                message = await self._next(0 if heard else timeout_s)
                if message is None:
                    break
                if message["type"] in ("message", "pmessage"):
                    heard.append((message["channel"].decode(errors="replace"), message["data"]))
        except (RedisError, OSError) as error:
            self._lost = BusUnavailable(f"the subscription was lost: {error}")
            if not heard:
                raise self._lost from error
        finally:
            _end_where_cancelled()
        return heard

    async def _next(self, timeout_s: float) -> Any:
        assert self._pubsub is not None
        return await self._pubsub.get_message(timeout=timeout_s)

    async def close(self) -> None:
        """Ends the subscription. Idempotent."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py has no types for it
        await self._redis.aclose()


def _end_where_cancelled() -> None:
    """redis-py takes a cancellation that comes while it reads for a time-out, and swallows it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _entry(entry_id: bytes, fields: Sequence[bytes]) -> tuple[str, dict[bytes, bytes]]:
    return entry_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True))


def _escaped(text: str) -> str:
    """The text as a pattern of Redis that means itself."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", text)
