"""Every script, as each connection loads them when it begins."""

from sio_cluster.streams.redis.scripts.appends import APPEND, FLUSH
from sio_cluster.streams.redis.scripts.inboxes import BAR, FORGET_SILENT, TRIM
from sio_cluster.streams.redis.scripts.lanes import ACQUIRE, BARRED, CLAIM, PEEK, RELEASE, RENEW
from sio_cluster.streams.redis.scripts.quarantine import QUARANTINE, REQUEUE, SET_ASIDE
from sio_cluster.streams.redis.scripts.records import CLOSE_ROOM, FORGET, JOIN, LEAVE, SET_FIELD
from sio_cluster.streams.redis.scripts.registry import HEARTBEAT, NEXT_EPOCH, REGISTER
from sio_cluster.streams.redis.scripts.script import Script

ALL: tuple[Script, ...] = (
    APPEND, FLUSH,
    BAR, FORGET_SILENT, TRIM,
    ACQUIRE, BARRED, CLAIM, PEEK, RELEASE, RENEW,
    QUARANTINE, REQUEUE, SET_ASIDE,
    CLOSE_ROOM, FORGET, JOIN, LEAVE, SET_FIELD,
    HEARTBEAT, NEXT_EPOCH, REGISTER,
)  # fmt: skip
