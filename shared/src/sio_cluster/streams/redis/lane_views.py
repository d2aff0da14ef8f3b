"""The lanes of a cluster and what waits in them, for people who look after it."""

from dataclasses import dataclass

from sio_cluster.protocol.ids import quarantine_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections
from sio_cluster.streams.redis.wire import Reply

# KEYS stream. How many entries it has, the id of the first one, how many were ever added, and how many its group has
# not been given; "" for what Redis does not say. Entries themselves stay in Redis: they may be large.
_SIZE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, '', 0, 0} end
local about = {}
for _, part in ipairs({redis.call('XINFO', 'STREAM', KEYS[1]), redis.call('XINFO', 'GROUPS', KEYS[1])[1] or {}}) do
  for i = 1, #part, 2 do about[part[i]] = part[i + 1] end
end
local first = about['first-entry']
return {about['length'], first and first[1] or '', about['entries-added'] or '', about['lag'] or ''}
"""


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane. An entry is what one io-node wrote in one tick."""

    lane: int
    holder: str | None
    """The app-node that holds its lease."""
    entries: int
    """Entries that are not done."""
    bytes: int
    unread: int | None
    """Those of them that no app-node has been given. None where Redis does not know."""
    oldest_s: float
    """How long the oldest of them has been there, in seconds. 0 where there is none."""
    added: int | None
    """How many entries it was ever given. None where Redis does not say."""
    quarantined: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class InboxView:
    """The inbox of one node. An entry is what one process wrote in one tick."""

    entries: int
    """Entries that it holds: those that are not read, and in the inbox of an io-node the log besides."""
    added: int | None


class LaneViews:
    """Questions about streams. One round trip each. Raises BusError."""

    def __init__(self, connections: Connections, keys: Keys) -> None:
        self._connections = connections
        self._keys = keys

    async def lanes(self, lanes: int) -> list[LaneView]:
        """All lanes of a cluster that has so many."""
        commands = [command for lane in range(lanes) for command in self._about_lane(lane)]
        time, *replies = await self._connections.run(("TIME",), *commands)
        now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
        each = len(commands) // lanes
        return [_lane_view(lane, now_ms, *replies[lane * each : (lane + 1) * each]) for lane in range(lanes)]

    async def inboxes(self, nodes: list[str]) -> dict[str, InboxView]:
        """By node id."""
        replies = await self._connections.run(*[_size(self._keys.inbox(node)) for node in nodes])
        return {
            node: InboxView(int(entries), _number(added))
            for node, (entries, _, added, _) in zip(nodes, replies, strict=True)
        }

    def _about_lane(self, lane: int) -> list[RedisCommand]:
        keys = self._keys
        uplink = keys.uplink(lane)
        return [
            ("HGET", keys.lease(lane), "holder"),
            _size(uplink),
            ("HGET", keys.state(uplink), "bytes"),
            ("XLEN", keys.uplink(quarantine_of(lane))),
            ("XLEN", keys.dead(lane)),
        ]


def _size(stream: str) -> RedisCommand:
    return ("EVAL", _SIZE, 1, stream)


def _lane_view(
    lane: int, now_ms: int, holder: Reply, size: Reply, count: Reply, quarantined: Reply, dead: Reply
) -> LaneView:
    entries, first, added, unread = size
    began_ms = int(first.partition(b"-")[0]) if first else now_ms
    return LaneView(
        lane,
        holder.decode() if holder else None,
        int(entries),
        int(count or 0),
        _number(unread),
        max(0, now_ms - began_ms) / 1000,
        _number(added),
        int(quarantined),
        int(dead),
    )


def _number(said: Reply) -> int | None:
    return None if said == b"" else int(said)
