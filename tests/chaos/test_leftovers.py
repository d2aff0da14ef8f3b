"""Which keys of Redis have no reason to be there when all clients have gone. The keys are those of protocol/keys.py."""

from tests.chaos.leftovers import left_over

from sio_cluster.protocol.keys import Keys

KEYS = Keys("sio")
LIVES, DEAD, SID = "io1-aaaaaa", "io2-bbbbbb", "io1-aaaaaa.S"


def test_what_stays() -> None:
    stay = [
        KEYS.config, KEYS.io_nodes, KEYS.app_nodes, KEYS.epoch, KEYS.inbox(LIVES), KEYS.state(KEYS.inbox(LIVES)),
        KEYS.alive(LIVES), KEYS.marks(LIVES), KEYS.rooms_at_horizon(LIVES, SID), KEYS.uplink(3), KEYS.lease(3),
        KEYS.state(KEYS.uplink(3)), KEYS.token(3), KEYS.holders(3), KEYS.takeovers(3),
    ]  # fmt: skip
    assert left_over(stay, {LIVES}) == []


def test_what_is_left_over() -> None:
    go = [
        KEYS.client(3, SID), KEYS.rooms(3, SID), KEYS.room(3, "/", '"a"'), KEYS.here(3, "/"), KEYS.counts(3, "/"),
        KEYS.metas(3, "/", '"a"'), KEYS.leaving(3), KEYS.inbox(DEAD), KEYS.state(KEYS.inbox(DEAD)), KEYS.away(DEAD),
        KEYS.clients(DEAD), KEYS.rooms_at_horizon(DEAD, SID), KEYS.lost_io_nodes, KEYS.parked_io_nodes,
    ]  # fmt: skip
    assert left_over(go, {LIVES}) == sorted(go)
