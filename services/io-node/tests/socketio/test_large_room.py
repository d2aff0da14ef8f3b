"""A room of 100,000 members at one io-node, with all of an io-node between the inbox and the sockets."""

import asyncio
import gc
import os
import time

import pytest

from io_node.bus.counters import BusCounters
from io_node.bus.downlink import Downlink
from io_node.engineio.api import Connection, ConnectionHandler
from io_node.engineio.connections import Connections
from io_node.engineio.counters import EngineCounters
from sio_cluster.node.process.garbage import tune_garbage_collector
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import encode_downlink
from sio_cluster.protocol.messages import Accept, AckRequest, ClientConnected, Command, Emit, Join
from sio_cluster.streams.api.inboxes import InboxEntry
from sio_cluster.testing.turns import turns

from .fakes import HANDSHAKE, NODE, Node

MEMBERS = 100_000
STALL_S = 0.05
APP = "app1-bbbbbb"


class Socket:
    """Takes all at once."""

    backlog = 0

    def __init__(self, world: "World") -> None:
        self._world = world

    def write(self, frames: bytes) -> None:
        self._world.written += 1

    def close(self, code: int) -> None: ...
    def part(self, code: int) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class World:
    """`written`: how many sockets were written to."""

    def __init__(self) -> None:
        self.node = Node()
        self.written = 0
        self._entries = 0
        quiet = Config(PING_INTERVAL_MS=3_600_000, PING_TIMEOUT_MS=3_600_000)
        self._connections = Connections(
            quiet, self, NODE, clock=time.monotonic, random_bytes=os.urandom, counters=EngineCounters()
        )
        self._downlink = Downlink(self.node.hub.execute, counters=BusCounters())

    def on_connection(self, connection: Connection) -> ConnectionHandler:
        return self.node.session_of(connection)

    async def fill(self) -> None:
        for number in range(MEMBERS):
            connection = self._connections.open(HANDSHAKE, "websocket")
            assert connection is not None
            socket = Socket(self)
            connection.start(socket)
            connection.on_text(socket, "40")
            [fact] = self.node.uplink.take()
            assert isinstance(fact, ClientConnected)
            self.node.hub.execute([Accept(fact.sid), Join(fact.sid, "all")])
            if number % 100 == 0:
                await asyncio.sleep(0)
        self.node.ops.clear()
        gc.collect()

    async def do(self, command: Command) -> None:
        """Until all members have been written to."""
        self._entries += 1
        self.written = 0
        entry = InboxEntry(b"5-%d" % self._entries, encode_downlink(APP, self._entries, [command]))
        await self._downlink.take([entry])
        while self.written < MEMBERS:  # no socket tells that
            await asyncio.sleep(0)

    def stop(self) -> None:
        self._connections.wheel.stop()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.ci_only
@pytest.mark.timeout(600)
async def test_a_room_of_100_000_holds_no_other_client_up_for_50_ms() -> None:
    """Neither an emit to all of them nor a question, whom it reaches included."""
    tune_garbage_collector()
    world = World()
    await world.fill()
    request = AckRequest(APP, 5, is_call=True, names_asked=True)
    for command in (
        Emit("/", b'2["news"]', to=["all"]),
        Emit("/", b'2["news"]'),
        Emit("/", b'2["news"]', to=["all", "nobody"], skip=["nobody"]),
        Emit("/", b'25["q"]', to=["all"], ack=request),
    ):
        longest = []
        for _ in range(3):
            async with turns() as found:
                await world.do(command)
            longest.append(max(found))
        assert min(longest) < STALL_S, (command, longest)
    assert [len(asked.here) for _, asked in world.node.asked] == [MEMBERS] * 3
    world.stop()
