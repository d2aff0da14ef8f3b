"""The checker of rooms finds what differs, and where."""

import os

from tests.agreement import by_index, differences, members_by, wrong_numbers

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.ids import lane_of, new_node_id, new_sid
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.records import Accepted, Joined
from sio_cluster.streams.redis import RedisBus

LANES = 16


def test_places_that_agree() -> None:
    """A room that a place does not name is empty there."""
    records = members_by([("s1", ["a", "b"]), ("s2", ["a"])])
    assert records == {"a": {"s1", "s2"}, "b": {"s1"}}
    assert differences({"records": records, "index": {"a": {"s2", "s1"}, "b": {"s1"}, "c": set()}}) == []


def test_each_difference_is_named() -> None:
    places = {"records": {"a": {"s1"}}, "index": {"a": {"s1", "s2"}}, "hubs": {"a": {"s1"}, "b": {"s1"}}}
    assert differences(places) == [
        "s2 in a: yes say index; no say records, hubs",
        "s1 in b: yes say hubs; no say records, index",
    ]


async def test_the_index_of_redis_and_its_numbers(redis_config: Config) -> None:
    bus = RedisBus(redis_config)
    await bus.start()
    try:
        sid = new_sid(new_node_id("io1", os.urandom), os.urandom)
        handshake = Handshake("GET", "/socket.io/", "", [], "192.0.2.1", 1)
        await bus.records.store([ClientConnected(sid, "c", "/", None, handshake, "polling")])
        await bus.records.update([Accepted(sid), Joined(sid, "/", "a"), Joined(sid, "/", "ä")])
        index = await by_index(bus, ["a", "b", "ä"], LANES)
        assert index == {"a": {sid}, "b": set(), "ä": {sid}}
        assert await wrong_numbers(bus, index, LANES) == []
        await bus.connections.run(("HINCRBY", bus.keys.counts(lane_of(sid, LANES), "/"), '"a"', 1))
        assert await wrong_numbers(bus, index, LANES) == ["a: the index counts 2 connected clients, and has 1"]
        others = [lane for lane in range(LANES) if lane != lane_of(sid, LANES)]
        await bus.connections.run(*[("ZADD", bus.keys.here(lane, "/"), 0, sid) for lane in others])
        wrong = await wrong_numbers(bus, index, LANES)
        assert [f"{sid} stands in lane {lane}" for lane in others] == wrong[: len(others)]
    finally:
        await bus.stop()
