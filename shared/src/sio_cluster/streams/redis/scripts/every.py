"""Every script, as each connection loads them when it begins."""

from sio_cluster.streams.redis.scripts.appends import APPEND, FLUSH
from sio_cluster.streams.redis.scripts.homes import (
    AT_HORIZON,
    AWAY,
    CORRECT,
    END,
    FORGET_LOG,
    HOLD,
    LOG_PAGE,
    LOST,
    OVER,
    PARK,
)
from sio_cluster.streams.redis.scripts.inboxes import BAR, FORGET_SILENT, GIVE_BACK_READ, TRIM
from sio_cluster.streams.redis.scripts.interest import BEGIN, BELIEVE, KEEP
from sio_cluster.streams.redis.scripts.lanes import ACQUIRE, BARRED, CLAIM, PEEK, RELEASE, RENEW
from sio_cluster.streams.redis.scripts.outcomes import CLAIM_OUTCOME, RELEASE_OUTCOME, SETTLE_OUTCOME
from sio_cluster.streams.redis.scripts.presences import HIDE, NEWS, SHOW
from sio_cluster.streams.redis.scripts.quarantine import QUARANTINE, REQUEUE, SET_ASIDE
from sio_cluster.streams.redis.scripts.records import (
    ACCEPT,
    CLAIM_SESSION,
    FORGET,
    JOIN,
    LEAVE,
    RENOUNCE,
    SET_FIELD,
    STORE,
    SWEEP,
    UPGRADE,
)
from sio_cluster.streams.redis.scripts.registry import HEARTBEAT, NEXT_EPOCH, REGISTER, REGISTER_IO_NODE
from sio_cluster.streams.redis.scripts.room_index import NOTE, RECOUNT, REINDEX
from sio_cluster.streams.redis.scripts.script import Script
from sio_cluster.streams.redis.scripts.selections import SELECT

ALL: tuple[Script, ...] = (
    APPEND, FLUSH,
    AT_HORIZON, AWAY, CORRECT, END, FORGET_LOG, HOLD, LOG_PAGE, LOST, OVER, PARK,
    BAR, FORGET_SILENT, GIVE_BACK_READ, TRIM,
    BEGIN, BELIEVE, KEEP,
    ACQUIRE, BARRED, CLAIM, PEEK, RELEASE, RENEW,
    CLAIM_OUTCOME, RELEASE_OUTCOME, SETTLE_OUTCOME,
    HIDE, NEWS, SHOW,
    QUARANTINE, REQUEUE, SET_ASIDE,
    ACCEPT, CLAIM_SESSION, FORGET, JOIN, LEAVE, RENOUNCE, SET_FIELD, STORE, SWEEP, UPGRADE,
    NOTE, RECOUNT, REINDEX,
    HEARTBEAT, NEXT_EPOCH, REGISTER, REGISTER_IO_NODE,
    SELECT,
)  # fmt: skip
