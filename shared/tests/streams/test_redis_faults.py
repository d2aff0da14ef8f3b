"""What the bus does when Redis stalls, crashes or forgets."""

import asyncio

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.api.lanes import Claimed
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Writer, commit, read_bodies
from sio_cluster.testing.valkey import Valkey, start_valkey

from .real_server import APP1, BLOCK_MS, IO1, LONG_MS, QUICK_S, cut, hold, persist

pytestmark = pytest.mark.slow


@pytest.fixture
def bus(impatient_bus: RedisBus) -> RedisBus:
    return impatient_bus


class TestStall:
    async def test_an_append_into_a_stalled_redis_is_retried_without_a_double(
        self, server: Valkey, bus: RedisBus
    ) -> None:
        reader, _ = await hold(bus)
        writer = Writer(bus.appender, bus.keys.uplink(0))
        await writer.write(b"a")
        server.pause()
        with pytest.raises(BusUnavailable):
            await writer.write_as(2, b"b")
        with pytest.raises(BusUnavailable):
            await writer.write_as(2, b"b")
        server.resume()
        await persist(bus)
        assert await writer.write_as(2, b"b") in (AppendResult.APPENDED, AppendResult.DUPLICATE)
        assert await writer.write_as(3, b"c") is AppendResult.APPENDED
        assert [entry.entry for entry in await reader.read([0], 0, 10)] == [b"a", b"b", b"c"]

    async def test_a_delivery_that_nobody_received_comes_with_the_next_read(
        self, server: Valkey, bus: RedisBus
    ) -> None:
        reader, _ = await hold(bus)
        uplink = bus.keys.uplink(0)
        writer = Writer(bus.appender, uplink)
        await writer.write(b"a")
        assert [entry.entry for entry in await reader.read([0], 0, 10)] == [b"a"]
        await writer.write(b"b", b"c")
        server.pause()
        with pytest.raises(BusUnavailable):  # the question waits in the server's socket, the answer finds nobody
            await reader.read([0], 0, 1)
        server.resume()
        await persist(bus)

        async with asyncio.timeout(10):
            position = b""
            _, newest = (await bus.connections.run(("XRANGE", uplink, "-", "+", "COUNT", 2)))[0]
            while position != newest[0]:
                position = (await bus.connections.run(("XINFO", "GROUPS", uplink)))[0][0][7]
        await writer.write(b"d")
        assert [entry.entry for entry in await reader.read([0], 0, 10)] == [b"b"]
        assert [entry.entry for entry in await reader.read([0], 0, 10)] == [b"c", b"d"]

    async def test_a_blocked_read_outlasts_the_time_limit_of_an_answer(self, bus: RedisBus) -> None:
        reader = bus.inbox_reader(IO1)
        assert await reader.read(int(QUICK_S * 1000 * 2)) == []

    async def test_a_blocked_read_notices_a_stall(self, server: Valkey, bus: RedisBus) -> None:
        reader = bus.inbox_reader(IO1)
        assert await reader.read(1) == []
        server.pause()
        with pytest.raises(BusUnavailable):
            await reader.read(1)
        server.resume()
        await Writer(RedisBus(Config(REDIS_URL=server.url)).appender, bus.keys.inbox(IO1), APP1).write(b"a")
        assert await read_bodies(reader, BLOCK_MS) == [b"a"]


class TestCrash:
    async def test_all_goes_on_after_a_crash(self, server: Valkey, bus: RedisBus) -> None:
        lane_reader, lease = await hold(bus)
        await bus.leases.acquire(1, APP1, LONG_MS)
        inbox_reader = bus.inbox_reader(IO1)
        uplink = Writer(bus.appender, bus.keys.uplink(0))
        inbox = Writer(bus.appender, bus.keys.inbox(IO1), APP1)
        await uplink.write(b"a", b"b")
        await inbox.write(b"1")
        [first] = await lane_reader.read([0], 0, 1)
        assert await read_bodies(inbox_reader, 0) == [b"1"]
        reads = [
            asyncio.create_task(inbox_reader.read(BLOCK_MS)),
            asyncio.create_task(lane_reader.read([1], BLOCK_MS, 1)),
        ]
        await bus.connections.run(("PING",))
        server.kill()
        outcomes = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [BusUnavailable, BusUnavailable]
        with pytest.raises(BusUnavailable):
            await uplink.write_as(3, b"c")
        server.start()
        await persist(bus)
        await uplink.write_as(3, b"c")
        await inbox.write(b"2")
        assert await uplink.write_as(2, b"b") is AppendResult.DUPLICATE
        assert [entry.entry for entry in await lane_reader.read([0], 0, 10)] == [b"b", b"c"]
        assert await read_bodies(inbox_reader, 0) == [b"2"]
        await commit(bus.appender, lease, first)

    async def test_a_redis_that_forgot_everything(self, server: Valkey, bus: RedisBus) -> None:
        lane_reader, lease = await hold(bus)
        inbox_reader = bus.inbox_reader(IO1)
        inbox = Writer(bus.appender, bus.keys.inbox(IO1), APP1)
        await inbox.write(b"1")
        assert await read_bodies(inbox_reader, 0) == [b"1"]
        await bus.connections.run(("FLUSHALL",), ("SCRIPT", "FLUSH"))
        await inbox_reader.trim()
        assert await lane_reader.read([0], 10, 10) == []
        assert await bus.leases.renew([lease], LONG_MS) == set()
        again = await bus.leases.acquire(0, APP1, LONG_MS)
        assert again is not None
        assert await lane_reader.claim(0) == Claimed([])
        await Writer(bus.appender, bus.keys.uplink(0)).write(b"a")
        assert [entry.entry for entry in await lane_reader.read([0], 0, 10)] == [b"a"]
        await inbox.write(b"2")
        assert await read_bodies(inbox_reader, 0) == [b"2"]

    @pytest.mark.parametrize(("wiped", "found"), [(True, [b"a", b"b"]), (False, [])])
    async def test_an_inbox_that_went_back(self, bus: RedisBus, wiped: bool, found: list[bytes]) -> None:
        """Wiped, all in it is new; else its end was lost, and what is left was read."""
        reader, inbox = bus.inbox_reader(IO1), bus.keys.inbox(IO1)
        await bus.connections.run(("XADD", inbox, "9999999999999-0", "b", b"from a clock ahead"))
        assert await read_bodies(reader, 0) == [b"from a clock ahead"]
        lost = (inbox, Keys.state(inbox)) if wiped else (inbox,)
        await bus.connections.run(("DEL", *lost))
        await cut(bus, reader._connection)
        writer = Writer(bus.appender, inbox, APP1)
        await writer.write(b"a", b"b")
        assert await read_bodies(reader, 1) == found
        await writer.write(b"c")
        assert await read_bodies(reader, BLOCK_MS) == [b"c"]

    async def test_a_new_connection_of_its_reader_ends_an_account_of_rooms(self, bus: RedisBus) -> None:
        """A replica that took over may have less than what was carried out. An expiry is put off with the inbox'."""
        reader, account = bus.inbox_reader(IO1, keeps_log=True), Keys.interest(bus.keys.inbox(IO1))
        await reader.read(0)
        await bus.interest.begin(IO1, "token")
        await bus.interest.believe(IO1, "token")
        append = Append(bus.keys.inbox(IO1), APP1, 1, b"a", 1 << 20, only_for=["lobby"])
        assert await bus.appender.append([append]) == [AppendResult.NOBODY]
        await bus.connections.run(("PEXPIRE", account, 60_000))
        reader._refresh_at = 0
        await reader.read(0)
        [ttl_ms] = await bus.connections.run(("PTTL", account))
        assert ttl_ms > 60_000
        assert await bus.appender.append([append]) == [AppendResult.NOBODY]
        await cut(bus, reader._connection)
        await read_bodies(reader, 1)
        assert await bus.appender.append([append]) == [AppendResult.APPENDED]

    async def test_scripts_that_were_flushed_come_back(self, bus: RedisBus) -> None:
        appender, keys = bus.appender, bus.keys
        await bus.connections.run(("SCRIPT", "FLUSH"))
        appends = [Append(keys.uplink(lane), IO1, 1, b"a", 100) for lane in range(4)]
        assert await appender.append(appends) == [AppendResult.APPENDED] * 4

    async def test_a_server_that_comes_later(self) -> None:
        with start_valkey() as server:
            server.stop()
            bus = RedisBus(Config(REDIS_URL=server.url))
            with pytest.raises(BusUnavailable):
                await bus.start()
            outcomes = await asyncio.gather(
                *[bus.connections.run(("PING",)) for _ in range(50)], return_exceptions=True
            )
            assert {type(outcome) for outcome in outcomes} == {BusUnavailable}
            server.start()
            await bus.start()
            await bus.stop()
