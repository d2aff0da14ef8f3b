"""What only a real server can do to the streams: stall, crash, forget, refuse."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sio_cluster.node.retry import Backoff
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import AccessRefused, BusRefused, BusUnavailable, ConfigError
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.api.lanes import Claimed, LaneReader
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import Accepted, Joined, Left, RoomClosed, Upgraded
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.connection import Connection
from sio_cluster.testing.contract import Writer
from sio_cluster.testing.valkey import Valkey, start_valkey

pytestmark = pytest.mark.slow

APP1, IO1 = "app-aaaaaa", "io1-aaaaaa"
CERTIFICATES = Path(__file__).parent / "tls"
QUICK_S = 0.2
BLOCK_MS = 10_000
LONG_MS = 60_000
HANDSHAKE = Handshake("GET", "/socket.io/", "", [], "10.1.2.3", 99)


@pytest.fixture
def server() -> Iterator[Valkey]:
    """A server that this test may ill-treat."""
    with start_valkey(appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture
async def bus(server: Valkey) -> AsyncIterator[RedisBus]:
    """An impatient bus on that server."""
    bus = RedisBus(Config(REDIS_URL=server.url), timeout_s=QUICK_S)
    await bus.start()
    yield bus
    await bus.stop()


async def persist(bus: RedisBus) -> None:
    """Tries until Redis answers, as every caller of the bus does."""
    backoff = Backoff(5, 50)
    async with asyncio.timeout(10):
        while True:
            try:
                await bus.connections.run(("PING",))
                return
            except BusUnavailable:
                await asyncio.sleep(next(backoff))


async def hold(bus: RedisBus, lane: int = 0) -> tuple[LaneReader, Lease]:
    lease = await bus.leases.acquire(lane, APP1, LONG_MS)
    assert lease is not None
    reader = bus.lane_reader(APP1)
    await reader.claim(lane)
    return reader, lease


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
        assert await reader.read(BLOCK_MS) == [b"a"]


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
        assert await inbox_reader.read(0) == [b"1"]
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
        assert await inbox_reader.read(0) == [b"2"]
        await lane_reader.commit(lease, [first.id])

    async def test_a_redis_that_forgot_everything(self, server: Valkey, bus: RedisBus) -> None:
        lane_reader, lease = await hold(bus)
        inbox_reader = bus.inbox_reader(IO1)
        inbox = Writer(bus.appender, bus.keys.inbox(IO1), APP1)
        await inbox.write(b"1")
        assert await inbox_reader.read(0) == [b"1"]
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
        assert await inbox_reader.read(0) == [b"2"]

    @pytest.mark.parametrize(("wiped", "found"), [(True, [b"a", b"b"]), (False, [])])
    async def test_an_inbox_that_went_back(self, bus: RedisBus, wiped: bool, found: list[bytes]) -> None:
        """Wiped, all in it is new; else its end was lost, and what is left was read."""
        reader, inbox = bus.inbox_reader(IO1), bus.keys.inbox(IO1)
        await bus.connections.run(("XADD", inbox, "9999999999999-0", "b", b"from a clock ahead"))
        assert await reader.read(0) == [b"from a clock ahead"]
        lost = (inbox, Keys.state(inbox)) if wiped else (inbox,)
        await bus.connections.run(("DEL", *lost), ("CLIENT", "KILL", "ID", reader._connection.greeted[0]))
        writer = Writer(bus.appender, inbox, APP1)
        await writer.write(b"a", b"b")
        assert await reader.read(1) == found
        await writer.write(b"c")
        assert await reader.read(BLOCK_MS) == [b"c"]

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


class TestRefusal:
    async def test_out_of_memory(self, bus: RedisBus) -> None:
        writer = Writer(bus.appender, bus.keys.uplink(0))
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 1))
        with pytest.raises(BusRefused, match="OOM"):
            await writer.write_as(1, b"a")
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 0))
        assert await writer.write_as(1, b"a") is AppendResult.APPENDED

    async def test_out_of_memory_keeps_nodes_alive_and_lets_readers_make_room(self, bus: RedisBus) -> None:
        lane_reader, lease = await hold(bus)
        inbox_reader, registry = bus.inbox_reader(IO1), bus.registry
        await registry.register_io_node(IO1, {})
        await registry.heartbeat(IO1, LONG_MS)
        await Writer(bus.appender, bus.keys.uplink(0)).write(b"a", b"b", b"c")
        await Writer(bus.appender, bus.keys.inbox(IO1), APP1).write(b"1", b"2")
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 1))
        await registry.heartbeat(IO1, LONG_MS)
        assert await bus.leases.renew([lease], LONG_MS) == {0}
        first, second, third = await lane_reader.read([0], 0, 10)
        await lane_reader.commit(lease, [first.id])
        await lane_reader.set_aside(lease, second, "because")
        await lane_reader.quarantine(lease, [(third.id, [b"c1", b"c2"])])
        assert await inbox_reader.read(0) == [b"1", b"2"]
        await inbox_reader.trim()
        assert await bus.connections.run(("XLEN", bus.keys.uplink(0)), ("XLEN", bus.keys.inbox(IO1))) == [0, 0]

    async def test_out_of_memory_takes_changes_of_records_with_a_lease_or_without(self, bus: RedisBus) -> None:
        """A handler's entry waits for them, or for what waits behind them."""
        records, sid = bus.records, f"{IO1}.AAAAAAAAAAAAAAAA"
        await records.store([ClientConnected(sid, "c1", "/", None, HANDSHAKE, "polling")])
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 1))
        await records.update([Accepted(sid), Joined(sid, "/", "room"), Upgraded(sid, "websocket")])
        assert await records.save_session(sid, b"session")
        record = await records.load(sid)
        assert record is not None
        assert (record.accepted, record.rooms, record.transport) == (True, {"room"}, "websocket")
        assert record.session == b"session"

    async def test_out_of_memory_an_app_node_joins_and_takes_over(self, server: Valkey, bus: RedisBus) -> None:
        """Nobody else would free the memory that a dead app-node's lanes hold."""
        await bus.registry.register_io_node(IO1, {})
        _, former = await hold(bus)
        await Writer(bus.appender, bus.keys.uplink(0)).write(b"a")
        await bus.leases.release(former, settled=False)
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 1))
        second, name = RedisBus(Config(REDIS_URL=server.url)), "app-bbbbbb"
        await second.start()
        registry, leases = second.registry, second.leases
        await registry.register_app_node(name, {})
        await registry.heartbeat(name, LONG_MS)
        assert name in await registry.app_nodes()
        assert await registry.next_epoch() == 1
        lease = await leases.acquire(0, name, LONG_MS)
        assert lease is not None
        assert await leases.bar_former([lease]) == {APP1}
        reader = second.lane_reader(name)
        await reader.claim(0)
        [entry] = await reader.read([0], 0, 10)
        await reader.commit(lease, [entry.id])
        await leases.release(lease)
        await registry.unregister_app_node(name)
        await second.stop()

    async def test_a_replica_is_left(self, bus: RedisBus) -> None:
        writer = Writer(bus.appender, bus.keys.uplink(0))
        [before] = await bus.connections.run(("CLIENT", "ID"))
        await bus.connections.run(("REPLICAOF", "127.0.0.1", 1))
        with pytest.raises(BusRefused, match="READONLY"):
            await writer.write_as(1, b"a")
        await bus.connections.run(("REPLICAOF", "NO", "ONE"))
        assert await writer.write_as(1, b"a") is AppendResult.APPENDED
        [after] = await bus.connections.run(("CLIENT", "ID"))
        assert after > before

    async def test_databases_are_apart(self, server: Valkey, bus: RedisBus) -> None:
        other = RedisBus(Config(REDIS_URL=server.url.removesuffix("/0") + "/5"))
        await other.start()
        await other.connections.run(("SET", "x", 1))
        assert await bus.connections.run(("EXISTS", "x")) == [0]
        await other.stop()

    def test_an_address_that_is_none(self) -> None:
        with pytest.raises(ConfigError, match="REDIS_URL"):
            RedisBus(Config(REDIS_URL="redis://localhost/0?socket_timeout=soon"))


class TestTls:
    """The server has none: a relay stands before it, with the self-signed certificate of tls/, made for this test."""

    @pytest.fixture
    async def address(self, server: Valkey) -> AsyncIterator[str]:
        async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1 << 16):
                writer.write(data)
            writer.close()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATES / "cert.pem", CERTIFICATES / "key.pem")
        relays = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
        yield f"rediss://127.0.0.1:{relays.sockets[0].getsockname()[1]}/0"
        relays.close()

    @pytest.mark.parametrize(
        "options", [f"ssl_ca_certs={CERTIFICATES / 'cert.pem'}", "ssl_cert_reqs=none", "ssl_cert_reqs=CERT_NONE"]
    )
    async def test_a_certificate_that_we_trust(self, address: str, options: str) -> None:
        bus = RedisBus(Config(REDIS_URL=f"{address}?{options}"))
        await bus.start()
        assert await bus.inbox_reader(IO1).read(1) == []
        await bus.stop()

    async def test_a_certificate_that_we_do_not_trust(self, address: str) -> None:
        with pytest.raises(AccessRefused, match="no certificate to trust"):
            await RedisBus(Config(REDIS_URL=address)).start()

    @pytest.mark.parametrize("options", ["ssl_ca_certs=/no/such/file", f"ssl_certfile={CERTIFICATES / 'key.pem'}"])
    async def test_files_that_cannot_be_loaded(self, address: str, options: str) -> None:
        with pytest.raises(AccessRefused, match=f"cannot load the certificates in {options.partition('=')[2]}"):
            await RedisBus(Config(REDIS_URL=f"{address}?{options}")).start()


class TestConnection:
    async def test_a_caller_that_is_cancelled_leaves_the_others_alone(self, bus: RedisBus) -> None:
        asked = [asyncio.create_task(bus.connections.run(("ECHO", b"%d" % number))) for number in range(50)]
        await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        answers = await asyncio.gather(*asked[1::2])
        assert answers == [[b"%d" % number] for number in range(1, 50, 2)]

    async def test_the_first_error_of_several_commands(self, bus: RedisBus) -> None:
        with pytest.raises(BusRefused, match="NONSENSE"):
            await bus.connections.run(("SET", "x", 1), ("NONSENSE",), ("SET", "y", 1))
        assert await bus.connections.run(("EXISTS", "x", "y")) == [2]

    async def test_stop_ends_blocked_reads_and_start_begins_anew(self, bus: RedisBus) -> None:
        reader = bus.inbox_reader(IO1)
        reading = asyncio.create_task(reader.read(BLOCK_MS))
        await bus.connections.run(("PING",))
        await bus.stop()
        await bus.stop()
        with pytest.raises(BusUnavailable):
            await reading
        await bus.start()
        await reader.close()
        await reader.close()

    async def test_stop_while_it_connects(self) -> None:
        silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        bus = RedisBus(Config(REDIS_HOST="127.0.0.1", REDIS_PORT=port))
        starting = asyncio.create_task(bus.start())
        await asyncio.sleep(0)
        await bus.stop()
        with pytest.raises(BusUnavailable):
            await starting
        silent.close()

    async def test_a_server_that_speaks_otherwise(self) -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        other = await asyncio.start_server(babble, "127.0.0.1", 0)
        connection = Connection(f"redis://127.0.0.1:{other.sockets[0].getsockname()[1]}")
        with pytest.raises(BusUnavailable):
            await connection.run([("PING",)])
        await connection.close()
        other.close()

    async def test_changes_keep_their_order_when_scripts_are_gone(self, bus: RedisBus) -> None:
        sid = f"{IO1}.{'0' * 16}"
        client = bus.keys.client(_lane(sid), sid)
        await bus.connections.run(("HSET", client, "connected", "x", "namespace", "/"), ("SCRIPT", "FLUSH"))
        records = bus.records
        await records.update([Joined(sid, "/", "a"), Left(sid, "a"), Joined(sid, "/", "b")])
        assert await bus.connections.run(("SMEMBERS", bus.keys.rooms(_lane(sid), sid))) == [[b'"b"']]

    async def test_the_room_index_has_the_members_and_nothing_else(self, bus: RedisBus) -> None:
        clients = [ClientConnected(f"{IO1}.{n:016d}", "c", "/chat", None, HANDSHAKE, "polling") for n in range(20)]
        records, pattern = bus.records, bus.keys.members(0).replace("{lane:0}", "{lane:*}") + "*"
        await records.store(clients)
        await records.update([Joined(client.sid, "/chat", room) for client in clients for room in ("a", 7)])
        index = {key: set(members) for key, members in await self._sets(bus, pattern)}
        for client in clients:
            lane = _lane(client.sid)
            for room in ('"a"', "7"):
                assert client.sid.encode() in index[bus.keys.room(lane, "/chat", room).encode()]
        assert sum(map(len, index.values())) == 40
        await records.update([RoomClosed("/chat", "a"), *[Left(client.sid, 7) for client in clients[:5]]])
        await records.forget([client.sid for client in clients[5:]])
        assert await self._sets(bus, pattern) == []

    async def _sets(self, bus: RedisBus, pattern: str) -> list[tuple[bytes, list[bytes]]]:
        [keys] = await bus.connections.run(("KEYS", pattern))
        return list(zip(keys, await bus.connections.run(*[("SMEMBERS", key) for key in keys]), strict=True))


class TestBounds:
    async def test_an_inbox_that_nobody_reads_expires(self, bus: RedisBus) -> None:
        inbox, uplink = bus.keys.inbox(IO1), bus.keys.uplink(0)
        appender = bus.appender
        await Writer(appender, inbox, APP1).write(b"a", b"b")
        await Writer(appender, uplink).write(b"a")
        keys = (inbox, Keys.state(inbox), uplink, Keys.state(uplink))
        *of_inbox, lane, lane_state = await bus.connections.run(*[("PTTL", key) for key in keys])
        assert all(0 < ttl <= 600_000 for ttl in of_inbox)
        assert (lane, lane_state) == (-1, -1)

    async def test_its_reader_keeps_it(self, bus: RedisBus) -> None:
        inbox, reader = bus.keys.inbox(IO1), bus.inbox_reader(IO1)
        await Writer(bus.appender, inbox, APP1).write(b"a")
        await bus.connections.run(("PEXPIRE", inbox, 5000), ("PEXPIRE", Keys.state(inbox), 5000))
        await reader.read(0)
        assert all(ttl > 500_000 for ttl in await bus.connections.run(("PTTL", inbox), ("PTTL", Keys.state(inbox))))

    async def test_a_read_brings_about_what_it_may(self, bus: RedisBus) -> None:
        reader = bus.inbox_reader(IO1, max_batch_bytes=10_000)
        writer = Writer(bus.appender, bus.keys.inbox(IO1), APP1)
        await writer.write(b"x" * 5000)
        await reader.read(0)
        await writer.write(*[b"y" * 5000] * 5)
        assert [len(await reader.read(0)) for _ in range(3)] == [2, 2, 1]

    async def test_what_was_set_aside_stays_bounded_and_says_why(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sio_cluster.streams.redis.lanes.DEAD_LETTERS_KEPT", 3)
        reader, lease = await hold(bus)
        await Writer(bus.appender, bus.keys.uplink(0)).write(*[b"%d" % number for number in range(5)])
        entries = await reader.read([0], 0, 10)
        lost = [await reader.set_aside(lease, entry, "not msgpack") for entry in entries]
        assert lost == [0, 0, 0, 1, 1]
        assert await reader.set_aside(lease, entries[-1], "not msgpack") == 0
        dead = (await bus.connections.run(("XRANGE", bus.keys.dead(0), "-", "+")))[0]
        assert [fields[1] for _, fields in dead] == [b"2", b"3", b"4"]
        assert dead[0][1][2:4] == [b"why", b"not msgpack"]
        assert await bus.connections.run(("HGET", Keys.state(bus.keys.uplink(0)), "bytes")) == [b"0"]


def _lane(sid: str) -> int:
    return lane_of(sid, 16)
