"""How the memory broker plays a Redis that is away, or whose answers get lost; and the test server itself."""

import asyncio

import pytest

from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of
from sio_cluster.testing.contract import read_bodies
from sio_cluster.testing.valkey import start_valkey

APP1, IO1 = "app-aaaaaa", "io1-aaaaaa"


async def test_a_lost_answer_has_taken_effect() -> None:
    broker = MemoryBroker()
    bus = MemoryBus(config_of(), broker)
    append = Append(bus.keys.inbox(IO1), APP1, 1, b"a", 100)
    broker.lose_replies()
    with pytest.raises(BusUnavailable):
        await bus.appender.append([append])
    assert await bus.appender.append([append]) == [AppendResult.DUPLICATE]
    assert await read_bodies(bus.inbox_reader(IO1), 0) == [b"a"]


async def test_down_ends_blocked_reads_and_has_no_effect() -> None:
    broker = MemoryBroker()
    bus = MemoryBus(config_of(), broker)
    lanes = bus.lane_reader(APP1)
    reads = [
        asyncio.create_task(bus.inbox_reader(IO1).read(60_000)),
        asyncio.create_task(lanes.read([0], 60_000, 1)),
    ]
    await asyncio.sleep(0)
    broker.go_down()
    outcomes = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [BusUnavailable, BusUnavailable]
    append = Append(bus.keys.inbox(IO1), APP1, 1, b"a", 100)
    with pytest.raises(BusUnavailable):
        await bus.appender.append([append])
    broker.come_back()
    assert await bus.appender.append([append]) == [AppendResult.APPENDED]


async def test_leases_run_by_the_clock_of_the_test() -> None:
    now = 0.0
    bus = MemoryBus(config_of(), MemoryBroker(lambda: now))
    leases = bus.leases
    lease = await leases.acquire(0, APP1, 1000)
    assert lease is not None
    now = 0.9
    assert await leases.renew([lease], 1000) == {0}
    now = 1.8
    assert await leases.acquire(0, "app-bbbbbb", 1000) is None
    now = 1.95
    assert await leases.acquire(0, "app-bbbbbb", 1000) is not None


def test_a_server_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)did not start.*no_such_option|no-such-option"),
        start_valkey(no_such_option="1"),
    ):
        pass


def test_a_server_stops_and_restarts() -> None:
    with start_valkey() as server:
        first = server.pid
        server.restart()
        assert server.pid != first
        server.pause()
        server.stop()
        server.stop()
        with pytest.raises(RuntimeError, match="stopped"):
            _ = server.pid
