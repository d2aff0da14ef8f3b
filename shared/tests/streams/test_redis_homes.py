"""What stands in Redis about homes: when it is full, when it has lost data, and what it costs."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from sio_cluster.protocol.errors import BusUnavailable, HomeLost, RedisFull
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.protocol.recovery import position_of
from sio_cluster.streams.api.appends import Append
from sio_cluster.streams.api.homes import AtHorizon
from sio_cluster.streams.api.inboxes import RoomOp
from sio_cluster.streams.api.records import Claim, Ended
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Writer, read_bodies

from .real_server import APP1, BLOCK_MS, IO1, LONG_MS, cut
from .redis_home import HANDSHAKE, HASH, IO2, OTHER, SID, START, expire, ids, keys_of_home, opened, room_index

pytestmark = pytest.mark.slow


class TestFull:
    async def test_out_of_memory_all_that_makes_room_goes_on(self, bus: RedisBus) -> None:
        sids = [f"{IO1}.{number:016d}" for number in range(5)]
        reader = await opened(bus, *sids)
        first, second = await ids(bus)
        await bus.records.forget([Ended(sids[4], 0, LONG_MS)])
        await expire(bus, sids[4])
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 1))
        await reader.trim()
        assert await bus.appender.held_bytes([bus.keys.inbox(IO1)]) == [0]
        await reader.forget_log(first, [RoomOp(sid, "x", True) for sid in sids])
        assert await bus.homes.rooms(IO1, SID, None) == AtHorizon(first, frozenset({"x"}))
        await bus.records.forget([Ended(sids[0], 0, LONG_MS), Ended(sids[1], 0, LONG_MS), Ended(sids[2])])
        assert isinstance(await bus.records.claim(sids[0], "/", HASH, IO2), Claim)
        assert isinstance(await bus.records.claim(sids[3], "/", HASH, IO2), Claim)
        await bus.homes.park(IO1, 100)
        await bus.homes.forget_parked(IO1, second, [RoomOp(sids[0], "y", True)])
        for sid, generation in ((sids[0], 1), (sids[1], 0), (sids[3], 1)):
            await bus.records.forget([Ended(sid, generation)])
        assert await bus.records.away(IO1) == 0  # the time of the last one was over
        assert await bus.homes.end(IO1)
        assert await keys_of_home(bus) == set()
        assert await room_index(bus) == []

    async def test_out_of_memory_no_new_client_is_stored(self, bus: RedisBus) -> None:
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 1))
        with pytest.raises(RedisFull):
            await bus.records.store([ClientConnected(SID, "c", "/", None, HANDSHAKE, "polling", HASH)])
        assert await bus.records.load(SID) is None


class TestLostData:
    async def test_a_log_that_is_gone_has_no_rooms_and_no_past(self, bus: RedisBus) -> None:
        reader = await opened(bus, SID)
        last = (await ids(bus))[-1]
        tail = bus.homes.tail(IO1, last)
        assert await tail.read(0) == []
        await bus.connections.run(("FLUSHALL",))
        with pytest.raises(HomeLost):
            await tail.read(0)
        assert await bus.homes.horizon(IO1) is None
        await Writer(bus.appender, bus.keys.inbox(IO1), APP1).write(b"c")
        bus.connections.reconnect("the test says so")
        assert await read_bodies(reader, 0) == [b"c"]
        assert await bus.homes.horizon(IO1) == last
        with pytest.raises(HomeLost):  # it is another log
            await tail.read(0)

    async def test_a_log_that_lost_its_end_knows_no_rooms_of_those_who_were_there(self, bus: RedisBus) -> None:
        """As after a failover: what was read is not there any more."""
        reader, inbox = await opened(bus, SID), bus.keys.inbox(IO1)
        first, last = await ids(bus)
        tail = bus.homes.tail(IO1, last)
        assert await tail.read(0) == []
        await bus.connections.run(("COPY", inbox, f"{inbox}.old"), ("DEL", inbox), ("XADD", inbox, first, "b", b"a"))
        bus.connections.reconnect("the test says so")
        with pytest.raises(HomeLost):
            await tail.read(0)
        assert await reader.read(0) == []
        assert await bus.homes.horizon(IO1) == last
        assert await bus.homes.rooms(IO1, SID, None) is None
        await bus.records.store([ClientConnected(OTHER, "c", "/", None, HANDSHAKE, "polling", HASH)])
        assert await bus.homes.rooms(IO1, SID, position_of(last, 5)) is None
        await Writer(bus.appender, inbox, APP1).write_as(3, b"c")
        later = position_of((await ids(bus))[-1], 0)
        assert await bus.homes.rooms(IO1, OTHER, later) == AtHorizon(last, frozenset())


class TestTail:
    async def test_it_goes_on_after_its_connection_was_killed(self, bus: RedisBus) -> None:
        await opened(bus)
        writer = Writer(bus.appender, bus.keys.inbox(IO1), "app-bbbbbb")
        tail = bus.homes.tail(IO1, START)
        assert await read_bodies(tail, 0) == [b"a", b"b"]
        reading = asyncio.create_task(tail.read(BLOCK_MS))
        await bus.connections.run(("PING",))
        await bus.connections.run(("CLIENT", "KILL", "ID", tail._connection.greeted[0]))
        with pytest.raises(BusUnavailable):
            await reading
        await writer.write(b"c", b"d")
        assert await read_bodies(tail, BLOCK_MS) == [b"c", b"d"]
        await tail.close()

    async def test_a_place_that_is_lost_while_it_has_no_connection(self, bus: RedisBus) -> None:
        reader = await opened(bus)
        tail = bus.homes.tail(IO1, START)
        assert await read_bodies(tail, 0) == [b"a", b"b"]
        await Writer(bus.appender, bus.keys.inbox(IO1), "app-bbbbbb").write(b"c", b"d")
        await cut(bus, tail._connection)
        await reader.forget_log((await ids(bus))[2], [])
        with pytest.raises(HomeLost):
            await tail.read(0)

    async def test_pages_and_reads_bring_about_what_they_may(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sio_cluster.streams.redis.homes._PAGE_BYTES", 100)
        await opened(bus)
        await Writer(bus.appender, bus.keys.inbox(IO1), "app-bbbbbb").write(*[b"x" * 60] * 40, b"y" * 200, b"z")
        after, sizes = START, []
        while page := await bus.homes.page(IO1, after):
            sizes.append(sum(len(entry.entry) for entry in page))
            after = page[-1].id
        assert sizes[0] == 62
        assert sum(sizes) == 2 + 2400 + 200 + 1
        assert all(size <= 100 for size in sizes if size != 200)
        assert len(await bus.homes.page(IO1, START, 1)) == 1
        tail = bus.homes.tail(IO1, START, max_batch_bytes=120)
        assert [len(await tail.read(0)) for _ in range(3)] == [43 + 1, 0, 0]


async def commands_of(bus: RedisBus, work: Awaitable[object]) -> dict[str, int]:
    """How often Redis carried out which command for this."""
    await bus.connections.run(("CONFIG", "RESETSTAT"))
    await work
    [text] = await bus.connections.run(("INFO", "commandstats"))
    calls = {}
    for line in text.decode().splitlines()[1:]:
        name, _, facts = line.partition(":")
        calls[name.removeprefix("cmdstat_")] = int(facts.partition("calls=")[2].partition(",")[0])
    del calls["config|resetstat"]
    return calls


class TestCost:
    async def test_an_append_to_a_living_inbox_costs_four_commands(self, bus: RedisBus) -> None:
        await opened(bus)
        writer = Writer(bus.appender, bus.keys.inbox(IO1), "app-bbbbbb")
        await writer.write(b"c")
        cost = await commands_of(bus, writer.write(b"d"))
        assert cost == {"evalsha": 1, "hmget": 1, "xadd": 1, "hset": 1}

    async def test_rooms_cost_two_commands_more(self, bus: RedisBus) -> None:
        await opened(bus)
        await bus.interest.begin(IO1, "token")
        await bus.interest.believe(IO1, "token")
        join = Append(bus.keys.inbox(IO1), "app-bbbbbb", 1, b"j", 1 << 20, lets_into=["lobby", "garden"])
        cost = await commands_of(bus, bus.appender.append([join]))
        assert cost == {"evalsha": 1, "hmget": 1, "xadd": 1, "hset": 2, "hexists": 1}
        emit = replace(join, seq=2, entry=b"e", lets_into=(), only_for=["lobby", "cellar"])
        cost = await commands_of(bus, bus.appender.append([emit]))
        assert cost == {"evalsha": 1, "hmget": 3, "xadd": 1, "hset": 1}
        cost = await commands_of(bus, bus.appender.append([replace(emit, seq=3, only_for=["cellar"])]))
        assert cost == {"evalsha": 1, "hmget": 3}
