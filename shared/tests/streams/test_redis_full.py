"""What the bus does when Redis is out of memory."""

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusRefused
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.streams.api.presences import Meta, ShowResult
from sio_cluster.streams.api.records import Accepted, Ended, Joined, Left, Upgraded
from sio_cluster.streams.api.selections import RoomsChange, Selection
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Writer, commit, read_bodies
from sio_cluster.testing.valkey import Valkey

from .real_server import APP1, IO1, LONG_MS, hold

pytestmark = pytest.mark.slow


HANDSHAKE = Handshake("GET", "/socket.io/", "", [], "10.1.2.3", 99)


class TestFull:
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
        await commit(bus.appender, lease, first)
        await lane_reader.set_aside(lease, second, "because")
        await lane_reader.quarantine(lease, [(third.id, [b"c1", b"c2"])])
        assert await read_bodies(inbox_reader, 0) == [b"1", b"2"]
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
        enter = RoomsChange(("b",), inside=True)
        assert (await bus.selections.change(Selection("/", ("room",)), [sid], enter)).here == [sid]
        assert record.session == b"session"

    async def test_out_of_memory_takes_what_clients_show_and_that_they_show_it_no_more(self, bus: RedisBus) -> None:
        sids = [f"{IO1}.{number:016d}" for number in range(4)]
        await bus.registry.register_io_node(IO1, {})
        await bus.inbox_reader(IO1, keeps_log=True).read(1)
        leases = [(await hold(bus, lane))[1] for lane in range(16)]
        await bus.records.store([ClientConnected(sid, "c1", "/", None, HANDSHAKE, "polling") for sid in sids])
        await bus.records.update([Joined(sid, "/", "a") for sid in sids])
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 1))
        for number, sid in enumerate(sids):
            shown = Meta("/", "a", "ada", b"{}", f"{number:016d}")
            assert await bus.presences.show(sid, shown, 0) is ShowResult.DONE
        await bus.records.forget([Ended(sids[0], 0, LONG_MS), Ended(sids[1])])
        await bus.records.update([Left(sids[2], "/", "a")])
        await bus.presences.hide(sids[3], "/", "a")
        found = [one for of_lane in await bus.presences.news(leases) for one in of_lane]
        assert sorted(one.shown for one in found) == [False] * 4 + [True] * 4
        assert await bus.presences.metas("/", "a") == []

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
        await commit(second.appender, lease, entry)
        await leases.release(lease)
        await registry.unregister_app_node(name)
        await second.stop()
