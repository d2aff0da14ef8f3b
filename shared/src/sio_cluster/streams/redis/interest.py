"""In which rooms homes have members."""

from collections.abc import Sequence

from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.interest import require_few
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.inbox import LOG_TTL_MS
from sio_cluster.streams.redis.rooms import encode_room
from sio_cluster.streams.redis.scripts.interest import BEGIN, BELIEVE, KEEP


class RedisInterest:
    """`api.interest.Interest`. The reader of the inbox keeps an account from expiring."""

    def __init__(self, connections: Connections, keys: Keys) -> None:
        self._connections = connections
        self._keys = keys

    async def begin(self, home: str, token: str) -> bytes:
        inbox = self._keys.inbox(home)
        [last] = await self._connections.run(call(BEGIN, (Keys.interest(inbox), inbox), token, LOG_TTL_MS))
        return bytes(last)

    async def keep(
        self, home: str, token: str, *, members: Sequence[Room] = (), empty: Sequence[Room] = (), up_to: bytes = b"0-0"
    ) -> bool:
        require_few(len(members) + len(empty))
        rooms = [*map(encode_room, members), *map(encode_room, empty)]
        return await self._run(call(KEEP, (self._account(home),), token, up_to, len(members), *rooms))

    async def believe(self, home: str, token: str) -> bool:
        return await self._run(call(BELIEVE, (self._account(home),), token))

    async def give_up(self, home: str) -> None:
        await self._connections.run(("DEL", self._account(home)))

    async def _run(self, command: RedisCommand) -> bool:
        [done] = await self._connections.run(command)
        return bool(done)

    def _account(self, home: str) -> str:
        return Keys.interest(self._keys.inbox(home))
