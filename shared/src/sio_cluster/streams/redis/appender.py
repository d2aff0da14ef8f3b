"""Writing stream entries exactly once, and committing what is done."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from sio_cluster.protocol.ids import quarantine_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.appends import (
    FLUSH_BYTES,
    Append,
    AppendResult,
    Commit,
    Flushed,
    are_written,
    require_distinct,
    require_fitting,
)
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.rooms import encode_room
from sio_cluster.streams.redis.scripts.appends import APPEND, FLUSH

INBOX_TTL_MS = 600_000
"""An inbox that nobody reads is gone after this time. Its reader keeps it from expiring."""

_RESULTS = (
    AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.FULL, AppendResult.BARRED, AppendResult.NOBODY,
)  # fmt: skip
"""By the number that the script answers."""


class RedisAppender:
    """`api.appends.Flusher`."""

    def __init__(self, connections: Connections, keys: Keys, lanes: int) -> None:
        self._connections = connections
        uplinks = {lane: keys.uplink(lane) for lane in [*range(lanes), *map(quarantine_of, range(lanes))]}
        self._commit_keys = {
            lane: (key, keys.state(key), keys.lease(lane), keys.done(lane)) for lane, key in uplinks.items()
        }

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        require_distinct(appends)
        replies = await self._connections.run(*[_call(step) for step in _in_steps(appends)])
        return [_RESULTS[result] for results in replies for result in results]

    async def flush(self, appends: Sequence[Append], commits: Sequence[Commit]) -> Flushed:
        require_distinct(appends)
        require_fitting(commits)
        if sum([len(append.entry) for append in appends]) <= FLUSH_BYTES:
            return await self._flush(appends, commits)
        results = await self.append(appends)
        if not are_written(results):
            return Flushed([], results, committed=False)
        return replace(await self._flush([], commits), appends=results)

    async def _flush(self, appends: Sequence[Append], commits: Sequence[Commit]) -> Flushed:
        keys, of_appends = _named(appends)
        arguments: list[str | bytes | int] = [len(appends), len(commits), *of_appends]
        for commit in commits:
            lease = commit.lease
            keys += self._commit_keys[lease.lane]
            arguments += (lease.node_id, lease.token, commit.size, len(commit.ids), *commit.ids)
            arguments += (len(commit.noted), *commit.noted, len(commit.notes))
            for entry_id, numbers in commit.notes:
                arguments += (entry_id, ",".join(map(str, numbers)))
        [[lost, results, committed]] = await self._connections.run(call(FLUSH, keys, *arguments))
        return Flushed(
            [commits[number - 1].lease for number in lost], [_RESULTS[result] for result in results], bool(committed)
        )

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        replies = await self._connections.run(*[("HGET", Keys.state(stream), "bytes") for stream in streams])
        return [int(reply or 0) for reply in replies]

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        replies = await self._connections.run(*[("HGET", Keys.state(stream), bar_of(node_id)) for stream in streams])
        return [int(reply or 0) for reply in replies]


def _in_steps(appends: Sequence[Append]) -> Iterator[list[Append]]:
    """The appends in their order, in parts of at most FLUSH_BYTES, or of one append."""
    step: list[Append] = []
    size = 0
    for append in appends:
        size += len(append.entry)
        if step and size > FLUSH_BYTES:
            yield step
            step, size = [], len(append.entry)
        step.append(append)
    if step:
        yield step


def _named(appends: Sequence[Append]) -> tuple[list[str], list[str | bytes | int]]:
    """The keys and arguments of these appends, as a script takes them."""
    keys: list[str] = []
    arguments: list[str | bytes | int] = []
    for append in appends:
        keys += _keys(append.stream)
        arguments += _arguments(append)
        arguments += _rooms(append)
    return keys, arguments


def _call(appends: Sequence[Append]) -> RedisCommand:
    """The command that makes these appends in one step."""
    keys, arguments = _named(appends)
    return call(APPEND, keys, *arguments)


@lru_cache(maxsize=10_000)
def _keys(stream: str) -> tuple[str, str, str]:
    """Of one append, as its script takes them."""
    return stream, Keys.state(stream), Keys.interest(stream)


@lru_cache(maxsize=10_000)
def _ttl_ms(stream: str) -> int:
    return INBOX_TTL_MS if Keys.is_inbox(stream) else 0


def _arguments(append: Append) -> tuple[str | bytes | int, ...]:
    """Of one append, as its script takes them. Those about rooms come behind."""
    return (
        append.node_id, append.seq, append.entry, append.max_bytes, _ttl_ms(append.stream), append.bar,
        int(append.urgent),
    )  # fmt: skip


def _rooms(append: Append) -> list[str | int]:
    """Of one append, as its script takes them: whom it is only for, and which rooms it lets clients into."""
    if append.only_for is None and not append.lets_into:
        return [-1, 0]
    only_for = [-1] if append.only_for is None else [len(append.only_for), *map(encode_room, append.only_for)]
    return [*only_for, len(append.lets_into), *map(encode_room, append.lets_into)]


def bar_of(node_id: str) -> str:
    """The field of a stream's state that counts how often a node was barred."""
    return f"{node_id}:bar"
