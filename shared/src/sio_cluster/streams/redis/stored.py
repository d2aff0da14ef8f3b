"""Records of clients, as they are read from Redis."""

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.records import ClientRecord
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.fields import decode_connected, decode_let_in
from sio_cluster.streams.redis.rooms import decode_room
from sio_cluster.streams.redis.wire import Reply

_FIELDS = (
    "connected", "session", "accepted", "transport", "restoring", "away", "let_in", "holder", "generation",
    "connected_at",
)  # fmt: skip

READS = 2
"""How many commands read one record."""


def read_record(keys: Keys, lanes: int, sid: str) -> list[RedisCommand]:
    """The commands that read a client's record. `decode_record` takes their answers."""
    lane = lane_of(sid, lanes)
    return [("HMGET", keys.client(lane, sid), *_FIELDS), ("SMEMBERS", keys.rooms(lane, sid))]


def decode_record(fields: Reply, rooms: Reply) -> ClientRecord | None:
    """The record. None where the client is gone."""
    encoded, session, accepted, transport, restoring, away, let_in, holder, generation, connected_at = fields
    if encoded is None:
        return None
    return ClientRecord(
        decode_connected(encoded, holder, generation),
        session,
        set(map(decode_room, rooms)),
        accepted == b"1",
        transport.decode(),
        restoring == b"1",
        away is not None,
        decode_let_in(let_in, accepted),
        None if connected_at is None else int(connected_at) / 1000,
    )
