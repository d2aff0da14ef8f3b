"""Lane entries that were set aside: looking at them, putting them back, removing them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.scripts.quarantine import REQUEUE


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry that was set aside.

    `id` is its id among the dead letters: it begins with the time in milliseconds by Redis' clock. `entry_id` is the id
    that the entry had in its lane.
    """

    lane: int
    id: str
    entry_id: str
    why: str
    entry: bytes

    @property
    def set_aside_at(self) -> float:
        """Seconds since 1970."""
        return int(self.id.partition("-")[0]) / 1000


class DeadLetters:
    """The dead letters of all lanes. Each lane keeps its newest 1,000 (`api.lanes.DEAD_LETTERS_KEPT`)."""

    def __init__(self, connections: Connections, keys: Keys) -> None:
        self._connections = connections
        self._keys = keys

    async def lanes(self) -> int:
        """How many lanes the cluster has, 0 where there is none of this prefix."""
        [lanes] = await self._connections.run(("HGET", self._keys.config, "lanes"))
        return int(lanes or 0)

    async def newest(self, lanes: Sequence[int], limit: int) -> list[DeadLetter]:
        """The newest `limit` dead letters of these lanes, the oldest of them first."""
        found: list[DeadLetter] = []
        for lane in lanes:  # one after the other: no more than twice `limit` are held at a time
            [entries] = await self._connections.run(("XREVRANGE", self._keys.dead(lane), "+", "-", "COUNT", limit))
            found += [_letter(lane, entry_id, fields) for entry_id, fields in reversed(entries)]
            found = sorted(found, key=lambda letter: letter.set_aside_at)[-limit:]
        return found

    async def read(self, lanes: Sequence[int], ids: Sequence[str] | None = None) -> list[DeadLetter]:
        """The dead letters of these lanes. `ids`: only those with one of these ids. In order within a lane."""
        keys = self._keys
        commands: list[RedisCommand] = []
        of_lane = []
        for lane in lanes:
            for first, last in [("-", "+")] if ids is None else [(entry_id, entry_id) for entry_id in ids]:
                commands.append(("XRANGE", keys.dead(lane), first, last))
                of_lane.append(lane)
        replies = await self._connections.run(*commands)
        return [
            _letter(lane, entry_id, fields)
            for lane, entries in zip(of_lane, replies, strict=True)
            for entry_id, fields in entries
        ]

    async def named(self, lane: int, id: str) -> list[DeadLetter]:
        """The dead letter of this lane that has this id; if there is none, that whose entry had it in the lane."""
        found = await self.read([lane], [id])
        return found or [letter for letter in await self.read([lane]) if letter.entry_id == id]

    async def requeue(self, letter: DeadLetter) -> bool:
        """Moves it to the end of its lane, where the lane's holder reads it. False where it is gone already."""
        keys = self._keys
        uplink = keys.uplink(letter.lane)
        lane_keys = (keys.dead(letter.lane), uplink, keys.state(uplink))
        [moved] = await self._connections.run(call(REQUEUE, lane_keys, letter.id))
        return bool(moved)

    async def delete(self, letter: DeadLetter) -> bool:
        """Removes it for good. False where it is gone already."""
        [gone] = await self._connections.run(("XDEL", self._keys.dead(letter.lane), letter.id))
        return bool(gone)


def _letter(lane: int, entry_id: bytes, flat: list[bytes]) -> DeadLetter:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return DeadLetter(
        lane,
        entry_id.decode(),
        fields.get(b"id", b"").decode(errors="replace"),
        fields.get(b"why", b"").decode(errors="replace"),
        fields.get(b"b", b""),
    )
