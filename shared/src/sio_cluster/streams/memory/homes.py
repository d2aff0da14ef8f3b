"""The logs of homes."""

from collections.abc import Iterable, Mapping, Sequence

from sio_cluster.protocol.errors import HomeLost
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Room
from sio_cluster.protocol.recovery import Position
from sio_cluster.streams.api.homes import AtHorizon
from sio_cluster.streams.api.inboxes import InboxEntry, RoomOp
from sio_cluster.streams.api.quiet import MOST_MARKS, UP_TO, Gone, Marks, names_of, start_again
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryLog, MemoryStream
from sio_cluster.streams.memory.entries import READ_COUNT, entries_behind, forget, forget_silent, read_on
from sio_cluster.streams.memory.lanes import number_of
from sio_cluster.streams.memory.records import absent, clients_at
from sio_cluster.streams.memory.registry import forget_node


class MemoryHomeTail:
    """`api.homes.HomeTail`."""

    def __init__(self, broker: MemoryBroker, key: str, after: bytes) -> None:
        self._broker = broker
        self._key = key
        self._last = number_of(after)

    async def read(self, block_ms: int) -> list[InboxEntry]:
        def look() -> list[InboxEntry]:
            found = _home(self._broker, self._key)
            if found is None or found[1].horizon > self._last:
                raise HomeLost(f"{self._key} has lost what comes after {self._last}")
            return entries_behind(found[0], self._last, READ_COUNT)

        entries = await read_on(self._broker, look, block_ms)
        if entries:
            self._last = number_of(entries[-1].id)
        return entries

    async def close(self) -> None:
        pass


class MemoryHomes:
    """`api.homes.Homes`."""

    def __init__(self, broker: MemoryBroker, keys: Keys) -> None:
        self._broker = broker
        self._keys = keys

    async def horizon(self, home: str) -> bytes | None:
        async with self._broker.operation():
            found = self._find(home)
            return None if found is None else b"%d-0" % found[1].horizon

    async def page(self, home: str, after: bytes, count: int = 500) -> list[InboxEntry]:
        async with self._broker.operation():
            found = self._find(home)
            return [] if found is None else entries_behind(found[0], number_of(after), count)

    async def rooms(self, home: str, sid: str, since: Position | None) -> AtHorizon | None:
        async with self._broker.operation():
            found = self._find(home)
            if found is None:
                return None
            _, log = found
            if log.torn and (since is None or since.ms <= log.torn):
                return None
            return AtHorizon(b"%d-0" % log.horizon, frozenset(log.rooms.get(sid, ())))

    async def absent(self, home: str) -> list[str]:
        async with self._broker.operation():
            return sorted(absent(self._broker, home))

    async def mark_gone(self, home: str, gone: Gone, up_to: bytes) -> None:
        async with self._broker.operation():
            found = self._find(home)
            if found is None:
                return
            log = found[1]
            if len(log.marks) > MOST_MARKS or number_of(log.marks.get(UP_TO, b"0-0")) < log.horizon:
                log.marks = start_again(up_to)
            else:
                log.marks |= gone.marks(log.marks) | {UP_TO: up_to}

    async def marks(self, home: str, sid: str, namespace: str, rooms: Iterable[Room]) -> Marks:
        async with self._broker.operation():
            found = self._find(home)
            known = {} if found is None else found[1].marks
            return Marks(sid, {name: known[name] for name in names_of(sid, namespace, rooms) if name in known})

    def tail(self, home: str, after: bytes, max_batch_bytes: int = 4_000_000) -> MemoryHomeTail:
        return MemoryHomeTail(self._broker, self._keys.inbox(home), after)

    async def park(self, home: str, max_bytes: int) -> None:
        async with self._broker.operation():
            stream = self._broker.streams[self._keys.inbox(home)]
            stream.log = stream.log or MemoryLog(home)
            stream.log.parked = max_bytes
            self._broker.parked_io_nodes.add(home)
            self._broker.io_nodes.pop(home, None)
            self._broker.lost_io_nodes.discard(home)
            self._broker.alive_until.pop(home, None)

    async def forget_parked(self, home: str, up_to: bytes, ops: Sequence[RoomOp] | None) -> None:
        async with self._broker.operation():
            found = self._find(home)
            if found is not None and found[1].parked is not None:
                if ops is None and number_of(up_to) > found[1].horizon:
                    found[1].torn = number_of(up_to)
                forget(self._broker, found[0], number_of(up_to), ops or ())

    async def forget_silent(self, home: str, last_seq: Mapping[str, int]) -> Mapping[str, int]:
        async with self._broker.operation():
            found = self._find(home)
            return {} if found is None else forget_silent(found[0], last_seq)

    async def end(self, home: str) -> bool:
        async with self._broker.operation():
            if home not in self._broker.parked_io_nodes or clients_at(self._broker, home):
                return False
            self._broker.parked_io_nodes.discard(home)
            forget_node(self._broker, self._keys, home)
            return True

    def _find(self, home: str) -> tuple[MemoryStream, MemoryLog] | None:
        return _home(self._broker, self._keys.inbox(home))


def _home(broker: MemoryBroker, key: str) -> tuple[MemoryStream, MemoryLog] | None:
    stream = broker.streams.get(key)
    return None if stream is None or stream.log is None else (stream, stream.log)
