"""Writing a stream entry exactly once."""

from collections.abc import Sequence

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.appends import Append, AppendResult, require_distinct
from sio_cluster.streams.redis.connections import Connections
from sio_cluster.streams.redis.scripts.appends import APPEND

INBOX_TTL_MS = 600_000
"""An inbox that nobody reads is gone after this time. Its reader keeps it from expiring."""

_RESULTS = (AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.FULL, AppendResult.BARRED)
"""By the number that the script answers."""


class RedisAppender:
    """`api.appends.Appender`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        require_distinct(appends)
        replies = await self._connections.run(*[
            (
                "EVALSHA", APPEND.sha, 2, append.stream, Keys.state(append.stream), append.node_id, append.seq,
                append.entry, append.max_bytes, INBOX_TTL_MS if Keys.is_inbox(append.stream) else 0, append.bar,
                int(append.urgent),
            )
            for append in appends
        ])  # fmt: skip
        return [_RESULTS[reply] for reply in replies]

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        replies = await self._connections.run(*[("HGET", Keys.state(stream), "bytes") for stream in streams])
        return [int(reply or 0) for reply in replies]

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        replies = await self._connections.run(*[("HGET", Keys.state(stream), bar_of(node_id)) for stream in streams])
        return [int(reply or 0) for reply in replies]


def bar_of(node_id: str) -> str:
    """The field of a stream's state that counts how often a node was barred."""
    return f"{node_id}:bar"
