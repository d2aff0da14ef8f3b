"""What the streams hold in Redis has bounds, and what nobody reads goes."""

import pytest

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Writer, commit

from .real_server import APP1, IO1, hold

pytestmark = pytest.mark.slow


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

    @pytest.mark.parametrize(("counted", "left"), [(1, 0), (4, 0), (9, 4)])
    async def test_a_wrong_count_of_bytes_ends_when_the_lane_is_empty(
        self, bus: RedisBus, counted: int, left: int
    ) -> None:
        reader, lease = await hold(bus)
        await Writer(bus.appender, bus.keys.uplink(0)).write(b"12345", b"678")
        first, second = await reader.read([0], 0, 10)
        await bus.connections.run(("HSET", Keys.state(bus.keys.uplink(0)), "bytes", counted))
        await commit(bus.appender, lease, first)
        assert await bus.appender.held_bytes([bus.keys.uplink(0)]) == [left]
        await commit(bus.appender, lease, second)
        assert await bus.appender.held_bytes([bus.keys.uplink(0)]) == [0]
