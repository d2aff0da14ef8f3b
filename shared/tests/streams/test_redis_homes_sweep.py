"""For how long Redis keeps what it has about homes and claims."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.inboxes import RoomOp
from sio_cluster.streams.api.records import OVERDUE_COUNT, Accepted, Ended
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Writer

from .real_server import APP1, IO1, LONG_MS, hold
from .redis_home import HASH, IO2, OTHER, SID, expire, ids, keys_of_home, opened, room_index

pytestmark = pytest.mark.slow


class TestSweep:
    async def test_it_takes_clients_out_of_the_room_index_and_their_homes(self, bus: RedisBus) -> None:
        sids = [f"{IO1}.{number:016d}" for number in range(20)]
        reader = await opened(bus, *sids)
        await reader.forget_log((await ids(bus))[0], [RoomOp(sid, "x", True) for sid in sids])
        await bus.records.forget([Ended(sid, 0, LONG_MS) for sid in sids[:10]])
        assert len(await room_index(bus)) == 20
        for sid in sids[:9]:
            await expire(bus, sid)
        assert await bus.records.away(IO1) == 1
        assert sorted(await room_index(bus)) == [sid.encode() for sid in sids[9:]]
        rooms = {f"rooms:{sid}" for sid in sids[9:]}
        assert await keys_of_home(bus) == rooms | {"inbox", "inbox:state", "clients", "away"}

    async def test_more_than_one_round_takes(self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sio_cluster.streams.redis.absences._OVER_COUNT", 3)
        sids = [f"{IO1}.{number:016d}" for number in range(10)]
        await opened(bus, *sids)
        await bus.records.forget([Ended(sid, 0, LONG_MS) for sid in sids])
        for sid in sids[:8]:
            await expire(bus, sid)
        assert await bus.records.away(IO1) == 2

    async def test_redis_removes_a_record_that_nobody_sweeps(self, bus: RedisBus) -> None:
        await opened(bus, SID)
        lane = lane_of(SID, 16)
        keys = (bus.keys.client(lane, SID), bus.keys.rooms(lane, SID))
        await bus.records.forget([Ended(SID, 0, LONG_MS)])
        for left_ms in await bus.connections.run(*[("PTTL", key) for key in keys]):
            assert LONG_MS + 3_000_000 < left_ms <= LONG_MS + 3_600_000
        await bus.records.claim(SID, "/", HASH, IO2)
        await bus.records.update([Accepted(SID, 1)])
        assert await bus.connections.run(*[("PTTL", key) for key in keys]) == [-1, -1]
        await bus.records.forget([Ended(SID, 1, LONG_MS, "ping timeout")])
        assert await bus.connections.run(*[("PTTL", key) for key in keys]) == [-1, -1]  # the application is to be told

    async def test_those_who_are_listed_as_overdue_and_are_not_hide_nobody(self, bus: RedisBus) -> None:
        """As a crash may leave them: the record is gone, or the client has come back."""
        reader = await opened(bus, SID, OTHER)
        away = bus.keys.away(IO1)
        gone = [f"{IO1}.-{number:015d}" for number in range(OVERDUE_COUNT)]  # they come first
        await bus.connections.run(("ZADD", away, *[word for sid in gone for word in ("-inf", sid)]))
        await bus.connections.run(("ZADD", away, "-inf", OTHER))
        await bus.records.forget([Ended(SID, 0, 1, "ping timeout")])
        await asyncio.sleep(0.01)
        assert await bus.records.overdue(IO1) == [(SID, 0, "ping timeout")]
        assert await bus.connections.run(("ZRANGE", away, 0, -1)) == [[SID.encode()]]
        await reader.close()


class TestExpiry:
    async def test_a_log_and_a_parked_home_do_not_expire(self, bus: RedisBus) -> None:
        await opened(bus)
        keys = (bus.keys.inbox(IO1), Keys.state(bus.keys.inbox(IO1)))
        ttls: list[Any] = [("PTTL", key) for key in keys]
        assert all(ttl > 86_000_000 for ttl in await bus.connections.run(*ttls))
        await bus.homes.park(IO1, 100)
        _, former = await hold(bus)
        await bus.leases.release(former, settled=False)
        lease = await bus.leases.acquire(0, "app-bbbbbb", LONG_MS)
        assert lease is not None
        await bus.leases.bar_former([lease])
        await Writer(bus.appender, bus.keys.inbox(IO1), "app-cccccc").write(b"c")
        await bus.inbox_reader(IO1, keeps_log=True).read(0)  # a reader that was only paused
        assert await bus.connections.run(*ttls) == [-1, -1]

    async def test_nor_does_one_that_was_parked_before_anything_was_in_it(self, bus: RedisBus) -> None:
        await bus.homes.park(IO1, 100)
        inbox = bus.keys.inbox(IO1)
        await Writer(bus.appender, inbox, APP1).write(b"a")
        assert await bus.connections.run(("PTTL", inbox), ("PTTL", Keys.state(inbox))) == [-1, -1]
