"""In which rooms homes have members."""

from collections.abc import Sequence

from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.interest import require_few
from sio_cluster.streams.memory.broker import MemoryAccount, MemoryBroker, MemoryStream
from sio_cluster.streams.memory.lanes import number_of


class MemoryInterest:
    """`api.interest.Interest`."""

    def __init__(self, broker: MemoryBroker, keys: Keys) -> None:
        self._broker = broker
        self._keys = keys

    async def begin(self, home: str, token: str) -> bytes:
        async with self._broker.operation():
            stream = self._stream(home)
            stream.account = MemoryAccount(token)
            return b"%d-0" % max(stream.entries, default=0)

    async def keep(
        self, home: str, token: str, *, members: Sequence[Room] = (), empty: Sequence[Room] = (), up_to: bytes = b"0-0"
    ) -> bool:
        require_few(len(members) + len(empty))
        async with self._broker.operation():
            account = self._account(home, token)
            if account is None:
                return False
            for room in empty:
                if account.rooms.get(room, 1 << 62) <= number_of(up_to):
                    del account.rooms[room]
            for room in members:
                account.rooms.setdefault(room, 0)
            return True

    async def believe(self, home: str, token: str) -> bool:
        async with self._broker.operation():
            account = self._account(home, token)
            if account is not None:
                account.believed = True
            return account is not None

    async def give_up(self, home: str) -> None:
        async with self._broker.operation():
            self._stream(home).account = None

    def _stream(self, home: str) -> MemoryStream:
        return self._broker.streams[self._keys.inbox(home)]

    def _account(self, home: str, token: str) -> MemoryAccount | None:
        account = self._stream(home).account
        return account if account is not None and account.token == token else None
