"""The lists of who is held by which io-node, and who is away from its home."""

from collections import defaultdict
from collections.abc import Sequence

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.quiet import marks_of_client
from sio_cluster.streams.api.records import OVERDUE_COUNT, io_node_of
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.scripts.homes import AWAY, CORRECT, HOLD, OVER
from sio_cluster.streams.redis.scripts.records import SWEEP

_OVER_COUNT = 500
"""How many clients whose time is over are forgotten in one round."""


class Absences:
    """These lists are in the slots of io-nodes, and records in those of lanes. So a crash may leave a list wrong: what
    the record says is right."""

    def __init__(self, connections: Connections, keys: Keys, lanes: int) -> None:
        self._connections = connections
        self._keys = keys
        self._lanes = lanes

    def goes(self, sid: str, keep_ms: int | str) -> RedisCommand:
        """The command that lists a client as away for so long ("inf": another io-node holds it).

        Its answer is 0 where there is no such home.
        """
        home = io_node_of(sid)
        return call(AWAY, (self._keys.away(home), Keys.state(self._keys.inbox(home))), keep_ms, sid)

    async def sweep(self, home: str) -> int:
        """Forgets those whose time is over. Returns how many are left."""
        key = self._keys.away(home)
        while True:
            [flat] = await self._connections.run(call(OVER, (key,), _OVER_COUNT))
            over = [(sid.decode(), end) for sid, end in zip(flat[::2], flat[1::2], strict=True)]
            await self._look_at(home, over)
            if len(over) < _OVER_COUNT:
                break
        [number] = await self._connections.run(("ZCARD", key))
        return int(number)

    async def overdue(self, home: str) -> list[tuple[str, int, str]]:
        """Those of whose disconnect the application must be told: sid, generation, reason."""
        await self.sweep(home)
        while True:
            listed = ("ZRANGEBYSCORE", self._keys.away(home), "-inf", "-inf", "LIMIT", 0, OVERDUE_COUNT)
            [members] = await self._connections.run(listed)
            sids = [member.decode() for member in members]
            records = await self._connections.run(
                *[("HMGET", self._client(sid), "generation", "untold", "away") for sid in sids]
            )
            overdue = [
                (sid, int(generation), untold.decode())
                for sid, (generation, untold, away) in zip(sids, records, strict=True)
                if untold and away is not None
            ]
            wrong = set(sids).difference(sid for sid, *_ in overdue)
            if not wrong:
                return overdue
            await self._look_at(home, [(sid, b"-inf") for sid in wrong])

    async def _look_at(self, home: str, listed: Sequence[tuple[str, bytes]]) -> None:
        """Forgets those of these clients whose time is over, and corrects the list by what the records say of others.

        `listed`: sid, and the end of its time as the list has it.
        """
        key = self._keys.away(home)
        swept = await self._connections.run(
            *[
                call(
                    SWEEP,
                    (self._client(sid), self._keys.rooms(self._lane(sid), sid)),
                    sid,
                    self._keys.of_lane(self._lane(sid)),
                    home,
                )
                for sid, _ in listed
            ]
        )
        found = list(zip(listed, swept, strict=True))
        gone = [sid for (sid, _), place in found if place == b"gone"]
        right = [
            call(CORRECT, (key,), sid, end, b"" if place == b"here" else place)
            for (sid, end), place in found
            if place != b"gone"
        ]
        await self._connections.run(*traces(self._keys, gone), *right)

    async def leave_lists(self, left: Sequence[tuple[str, str]]) -> None:
        """Takes clients off the lists of those who held them.

        One that was claimed back there meanwhile is put on the list again: its claim came before.
        """
        sids_of: dict[str, list[str]] = defaultdict(list)
        for sid, holder in left:
            sids_of[holder].append(sid)
        removals: list[RedisCommand] = [("SREM", self._keys.clients(node), *sids) for node, sids in sids_of.items()]
        looks: list[RedisCommand] = [("HMGET", self._client(sid), "connected", "holder", "away") for sid, _ in left]
        records = (await self._connections.run(*removals, *looks))[len(removals) :]
        back = [
            call(HOLD, (self._keys.clients(node),), sid)
            for (sid, node), record in zip(left, records, strict=True)
            if _is_held(node, *record)
        ]
        await self._connections.run(*back)

    async def correct(self, node: str, sids: Sequence[str]) -> None:
        """Takes those of these clients off the list of this io-node that it does not hold.

        Those whose home it is stay: as long as such a client has a record, the list may be all that keeps the home.
        """
        sids = [sid for sid in sids if io_node_of(sid) != node]
        looks: list[RedisCommand] = [("HMGET", self._client(sid), "connected", "holder", "away") for sid in sids]
        records = await self._connections.run(*looks)
        wrong = [(sid, node) for sid, record in zip(sids, records, strict=True) if not _is_held(node, *record)]
        if wrong:
            await self.leave_lists(wrong)

    def _lane(self, sid: str) -> int:
        return lane_of(sid, self._lanes)

    def _client(self, sid: str) -> str:
        return self._keys.client(self._lane(sid), sid)


def _is_held(node: str, connected: bytes | None, holder: bytes | None, away: bytes | None) -> bool:
    """Whether this io-node holds a client, by these fields of its record."""
    return connected is not None and away is None and holder == node.encode()


def traces(keys: Keys, sids: Sequence[str]) -> list[RedisCommand]:
    """What removes clients that are gone for good from all that is kept about them at their homes."""
    sids_of: dict[str, list[str]] = defaultdict(list)
    for sid in sids:
        sids_of[io_node_of(sid)].append(sid)
    commands: list[RedisCommand] = []
    for home, gone in sids_of.items():
        commands += [("SREM", keys.clients(home), *gone), ("ZREM", keys.away(home), *gone)]
        # Last what is kept at the horizon: `FORGET_LOG` writes there only for who is in one of these two.
        marks = [name for sid in gone for name in marks_of_client(sid)]
        commands.append(("HDEL", keys.marks(home), *marks))
        commands.append(("UNLINK", *[keys.rooms_at_horizon(home, sid) for sid in gone]))
    return commands
