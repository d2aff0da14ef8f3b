"""Reads of records and of the room index on which the calling thread waits."""

from collections.abc import Iterator
from typing import TypeVar

from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.records import ClientRecord
from sio_cluster.streams.redis.blocking import BlockingConnection
from sio_cluster.streams.redis.queries import Queries, Question

_T = TypeVar("_T")

TIMEOUT_S = 0.25
"""How long the thread waits at most."""
_PAGE = 1_000


class RedisLookup:
    """`api.room_index.Lookup`."""

    def __init__(self, address: str, keys: Keys, lanes: int) -> None:
        """No IO here. Raises ConfigError where the address is malformed."""
        self._connection = BlockingConnection(address, TIMEOUT_S)
        self._queries = Queries(keys, lanes)

    def record(self, sid: str) -> ClientRecord | None:
        [record] = self._answer(self._queries.records([sid]))
        return record

    def sids(self, namespace: str, room: Room | None = None) -> Iterator[str]:
        cursor = None
        while True:
            page = self._answer(self._queries.page(namespace, room, _PAGE, cursor))
            yield from (record.connected.sid for record in page.records)
            cursor = page.cursor
            if cursor is None:
                return

    def close(self) -> None:
        """Idempotent. The next use opens the connection again."""
        self._connection.close()

    def _answer(self, question: Question[_T]) -> _T:
        try:
            commands = next(question)
            while True:
                commands = question.send(self._connection.run(commands))
        except StopIteration as end:
            answer: _T = end.value
            return answer
