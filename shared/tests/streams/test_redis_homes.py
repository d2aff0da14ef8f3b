"""What stands in Redis about homes and claims: after crashes, without memory, for how long."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusUnavailable, HomeLost, RedisFull
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.protocol.recovery import position_of
from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.streams.api.homes import AtHorizon
from sio_cluster.streams.api.inboxes import InboxReader, RoomOp
from sio_cluster.streams.api.records import OVERDUE_COUNT, Accepted, Claim, ClaimRefused, Ended, Joined
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Writer, read_bodies
from sio_cluster.testing.valkey import Valkey

from .real_server import APP1, BLOCK_MS, IO1, LONG_MS, hold

pytestmark = pytest.mark.slow

IO2 = "io2-aaaaaa"
SID, OTHER = f"{IO1}.{1:016d}", f"{IO1}.{2:016d}"
HANDSHAKE = Handshake("GET", "/socket.io/", "", [], "10.1.2.3", 99)
HASH = b"h" * 32
START = b"0-0"


@pytest.fixture
async def bus(server: Valkey) -> AsyncIterator[RedisBus]:
    """A bus with the usual patience."""
    bus = RedisBus(Config(REDIS_URL=server.url))
    await bus.start()
    yield bus
    await bus.stop()


async def opened(bus: RedisBus, *sids: str) -> InboxReader:
    """A home with a log of two entries that were read, and with these clients, each in the room "x"."""
    reader = bus.inbox_reader(IO1, keeps_log=True)
    await bus.registry.register_io_node(IO1, {})
    await bus.records.store([ClientConnected(sid, "c", "/", None, HANDSHAKE, "polling", HASH) for sid in sids])
    await bus.records.update([Accepted(sid) for sid in sids] + [Joined(sid, "/", "x") for sid in sids])
    await Writer(bus.appender, bus.keys.inbox(IO1), APP1).write(b"a", b"b")
    assert await read_bodies(reader, 0) == [b"a", b"b"]
    return reader


async def ids(bus: RedisBus) -> list[bytes]:
    return [entry.id for entry in await bus.homes.page(IO1, START)]


def fail_at(bus: RedisBus, monkeypatch: pytest.MonkeyPatch, number: int, *, lost_answer: bool) -> None:
    """The call of this number from now on, from 1, does not reach Redis, or its answer does not come back."""
    run, calls = bus.connections.run, 0

    async def failing(*commands: Any) -> Any:
        nonlocal calls
        calls += bool(commands)
        if calls != number:
            return await run(*commands)
        if lost_answer:
            await run(*commands)
        raise BusUnavailable("the test has cut the connection")

    monkeypatch.setattr(bus.connections, "run", failing)


async def keys_of_home(bus: RedisBus) -> set[str]:
    [keys] = await bus.connections.run(("KEYS", f"{bus.keys.prefix}:{{node:{IO1}}}:*"))
    return {key.decode().partition("}:")[2] for key in keys}


async def room_index(bus: RedisBus) -> list[bytes]:
    [keys] = await bus.connections.run(("KEYS", bus.keys.of_lane(0).replace("{lane:0}", "{lane:*}") + "room:*"))
    return [sid for members in await bus.connections.run(*[("SMEMBERS", key) for key in keys]) for sid in members]


async def expire(bus: RedisBus, sid: str) -> None:
    """The time of a client that is away ends now."""
    client = bus.keys.client(lane_of(sid, 16), sid)
    await bus.connections.run(("HSET", client, "away", 1), ("ZADD", bus.keys.away(IO1), 1, sid))


class TestCrash:
    @pytest.mark.parametrize("number", [1, 2, 3])
    @pytest.mark.parametrize("lost_answer", [False, True])
    async def test_a_claim_that_was_cut_off_is_found_again(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch, number: int, lost_answer: bool
    ) -> None:
        """Its io-node may die now. Then its burial must find the client, and the home must stay."""
        await opened(bus, SID)
        with monkeypatch.context() as patch:
            fail_at(bus, patch, number, lost_answer=lost_answer)
            with pytest.raises(BusUnavailable):
                await bus.records.claim(SID, "/", HASH, IO2)
        is_claimed = number == 3 or (number == 2 and lost_answer)
        assert await bus.records.clients_of(IO2) == ([(SID, 1)] if is_claimed else [])
        assert await bus.records.clients_of(IO1) == ([] if is_claimed else [(SID, 0)])
        await bus.homes.park(IO1, 100)
        assert not await bus.homes.end(IO1)
        claimed = await bus.records.claim(SID, "/", HASH, IO2)
        assert isinstance(claimed, Claim)
        assert await bus.homes.absent(IO1) == [SID]
        assert await bus.records.clients_of(IO2) == [(SID, 1 + is_claimed)]
        await bus.records.forget([Ended(SID, claimed.generation)])
        assert await bus.homes.end(IO1)
        assert await keys_of_home(bus) == set()

    @pytest.mark.parametrize("number", [1, 2, 3])
    @pytest.mark.parametrize("lost_answer", [False, True])
    async def test_a_client_that_goes_in_a_crash(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch, number: int, lost_answer: bool
    ) -> None:
        await opened(bus, SID)
        with monkeypatch.context() as patch:
            fail_at(bus, patch, number, lost_answer=lost_answer)
            with pytest.raises(BusUnavailable):
                await bus.records.forget([Ended(SID, 0, LONG_MS)])
        await bus.homes.park(IO1, 100)
        assert not await bus.homes.end(IO1)
        record = await bus.records.load(SID)
        assert record is not None
        assert record.away is (number == 3 or (number == 2 and lost_answer))
        await bus.records.forget([Ended(SID, 0, LONG_MS)])
        assert await bus.records.away(IO1) == 1
        assert await bus.records.clients_of(IO1) == []
        await bus.records.forget([Ended(SID)])
        assert await bus.homes.end(IO1)
        assert await room_index(bus) == []

    @pytest.mark.parametrize("claimed_by", [None, IO1, IO2])
    async def test_who_stands_in_the_list_and_is_not_away_is_left_there(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch, claimed_by: str | None
    ) -> None:
        """As after a crash in the midst of a disconnect, or of a claim."""
        await opened(bus, SID)
        if claimed_by is not None:
            await bus.records.claim(SID, "/", HASH, claimed_by)
        await bus.connections.run(("ZADD", bus.keys.away(IO1), 1, SID))
        assert await bus.records.away(IO1) == (claimed_by == IO2)
        assert await bus.homes.absent(IO1) == ([SID] if claimed_by == IO2 else [])
        record = await bus.records.load(SID)
        assert record is not None
        assert not record.away

    @pytest.mark.parametrize("goes", [True, False])
    async def test_who_comes_back_to_the_same_io_node_meanwhile_stays_on_its_list(
        self, server: Valkey, bus: RedisBus, monkeypatch: pytest.MonkeyPatch, goes: bool
    ) -> None:
        """Between two steps of the one who takes it off the list: else the burial of that io-node would not find it."""
        await opened(bus, SID)
        other, run, calls = RedisBus(Config(REDIS_URL=server.url)), bus.connections.run, 0

        async def slow(*commands: Any) -> Any:
            nonlocal calls
            calls += bool(commands)
            if calls == 3 and commands:
                assert isinstance(await other.records.claim(SID, "/", HASH, IO1), Claim)
                calls += 1
            return await run(*commands)

        monkeypatch.setattr(bus.connections, "run", slow)
        if goes:
            await bus.records.forget([Ended(SID, 0, LONG_MS)])
        else:
            await bus.records.claim(SID, "/", HASH, IO2)
        assert calls >= 4
        assert await bus.records.clients_of(IO1) == [(SID, 1 if goes else 2)]
        await other.stop()

    async def test_who_was_listed_too_early_stays_for_its_time(self, bus: RedisBus) -> None:
        await opened(bus, SID)
        await bus.records.forget([Ended(SID, 0, LONG_MS)])
        client = bus.keys.client(lane_of(SID, 16), SID)
        await bus.connections.run(("ZADD", bus.keys.away(IO1), 1, SID))  # as if it had come back and gone once more
        assert await bus.records.away(IO1) == 1
        ends, listed = await bus.connections.run(("HGET", client, "away"), ("ZSCORE", bus.keys.away(IO1), SID))
        assert ends == listed
        assert await bus.records.load(SID) is not None

    async def test_traces_of_a_client_that_is_gone_do_not_keep_a_home(self, bus: RedisBus) -> None:
        reader = await opened(bus, SID, OTHER)
        await reader.forget_log((await ids(bus))[0], [RoomOp(SID, "x", True), RoomOp(OTHER, "x", True)])
        await bus.records.forget([Ended(OTHER, 0, LONG_MS)])
        clients = [bus.keys.client(lane_of(sid, 16), sid) for sid in (SID, OTHER)]
        await bus.connections.run(("DEL", *clients))
        await bus.homes.park(IO1, 100)
        assert await bus.homes.end(IO1)
        assert await keys_of_home(bus) == set()

    @pytest.mark.parametrize("fate", ["gone", "away", "elsewhere"])
    async def test_whom_an_io_node_held_before_a_crash_does_not_keep_its_home(self, bus: RedisBus, fate: str) -> None:
        """Its clients are of another home. A crash had left one of them on its list."""
        await bus.homes.park(IO1, 100)
        sid = f"{IO2}.{1:016d}"
        await bus.homes.park(IO2, 100)
        await bus.records.store([ClientConnected(sid, "c", "/", None, HANDSHAKE, "polling", HASH)])
        await bus.connections.run(("SADD", bus.keys.clients(IO1), sid))
        if fate != "elsewhere":
            await bus.records.forget([Ended(sid, 0, LONG_MS if fate == "away" else 0)])
        assert await bus.homes.end(IO1)
        assert await keys_of_home(bus) == set()
        assert await bus.records.clients_of(IO2) == ([(sid, 0)] if fate == "elsewhere" else [])

    async def test_a_claim_that_is_refused_leaves_nothing(self, bus: RedisBus) -> None:
        await bus.records.store([ClientConnected(SID, "c", "/", None, HANDSHAKE, "polling", HASH)])
        assert await bus.records.claim(SID, "/", HASH, IO2) is ClaimRefused.PENDING
        [lists] = await bus.connections.run(("KEYS", bus.keys.clients("*")))
        assert lists == [bus.keys.clients(IO1).encode()]

    async def test_an_io_node_that_is_unregistered_leaves_nothing(self, bus: RedisBus) -> None:
        reader = await opened(bus, SID, OTHER)
        await reader.forget_log((await ids(bus))[0], [RoomOp(SID, "x", True), RoomOp(OTHER, "x", True)])
        await bus.records.forget([Ended(OTHER, 0, LONG_MS)])
        await bus.registry.unregister_io_node(IO1)
        assert await keys_of_home(bus) == set()


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
        await bus.connections.run(("CLIENT", "KILL", "ID", tail._connection.greeted[0]))
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


class TestCost:
    async def test_an_append_to_a_living_inbox_costs_four_commands(self, bus: RedisBus) -> None:
        await opened(bus)
        writer = Writer(bus.appender, bus.keys.inbox(IO1), "app-bbbbbb")
        await writer.write(b"c")
        await bus.connections.run(("CONFIG", "RESETSTAT"))
        assert await writer.write(b"d") == [AppendResult.APPENDED]
        [text] = await bus.connections.run(("INFO", "commandstats"))
        calls = Counter[str]()
        for line in text.decode().splitlines()[1:]:
            name, _, facts = line.partition(":")
            calls[name.removeprefix("cmdstat_")] = int(facts.partition("calls=")[2].partition(",")[0])
        del calls["config|resetstat"]
        assert calls == {"evalsha": 1, "hmget": 1, "xadd": 1, "hset": 1}
