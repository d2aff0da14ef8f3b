"""The largest rooms of a namespace, for people who look after the cluster."""

import heapq
from collections import Counter
from dataclasses import dataclass

from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections
from sio_cluster.streams.redis.queries import EXACT
from sio_cluster.streams.redis.rooms import decode_room

SCAN_LIMIT = 20_000
"""Of how many rooms the sizes are read, about, in all lanes together: a cluster may have millions."""
_PAGE = 1_000
_CANDIDATES = 4


@dataclass(frozen=True, slots=True)
class RoomView:
    """A room, and how many connected clients are in it."""

    room: Room
    clients: int


@dataclass(frozen=True, slots=True)
class RoomsView:
    """The largest rooms of one namespace, the largest first."""

    namespace: str
    connected: int
    """Clients that are connected to the namespace."""
    rooms: list[RoomView]
    is_complete: bool
    """Whether all rooms were looked at. Else a larger one may be missing; the sizes are right all the same."""


class LargestRooms:
    """Reads the room index. Raises BusError."""

    def __init__(self, connections: Connections, keys: Keys, scan_limit: int = SCAN_LIMIT) -> None:
        self._connections = connections
        self._keys = keys
        self._scan_limit = scan_limit

    async def of(self, namespace: str, lanes: int, limit: int) -> RoomsView | None:
        """The largest `limit` rooms. None where the room index is not exact (`api.room_index`)."""
        exact, *here = await self._connections.run(
            ("HGET", self._keys.config, "index"), *[("ZCARD", self._keys.here(n, namespace)) for n in range(lanes)]
        )
        if exact != EXACT:
            return None
        names = [self._keys.counts(lane, namespace) for lane in range(lanes)]
        found, is_complete = await self._scan(names)
        candidates = [room for room, _ in heapq.nlargest(limit * _CANDIDATES, found.items(), key=lambda item: item[1])]
        sizes = await self._sizes(names, candidates)
        largest = heapq.nlargest(limit, sizes.items(), key=lambda item: item[1])
        rooms = [RoomView(decode_room(room), clients) for room, clients in largest if clients > 0]
        return RoomsView(namespace, sum(map(int, here)), rooms, is_complete)

    async def _scan(self, names: list[str]) -> tuple[Counter[bytes], bool]:
        """The first rooms of each of these hashes, a page of each in one round trip, and whether these are all."""
        found: Counter[bytes] = Counter()
        cursors = dict.fromkeys(names, b"0")
        count = max(1, min(_PAGE, self._scan_limit // len(names)))
        for _ in range(max(1, self._scan_limit // (count * len(names)))):
            scans: list[RedisCommand] = [("HSCAN", name, cursor, "COUNT", count) for name, cursor in cursors.items()]
            for name, (cursor, flat) in zip(list(cursors), await self._connections.run(*scans), strict=True):
                cursors[name] = cursor
                for room, number in zip(flat[::2], flat[1::2], strict=True):
                    found[room] += int(number)
            cursors = {name: cursor for name, cursor in cursors.items() if cursor != b"0"}
            if not cursors:
                return found, True
        return found, False

    async def _sizes(self, names: list[str], rooms: list[bytes]) -> Counter[bytes]:
        """In all lanes: a scan that was cut has seen a part of them, and may have seen a room twice."""
        sizes: Counter[bytes] = Counter()
        asks: list[RedisCommand] = [("HMGET", name, *rooms) for name in names] if rooms else []
        for numbers in await self._connections.run(*asks):
            for room, number in zip(rooms, numbers, strict=True):
                sizes[room] += int(number or 0)
        return sizes
