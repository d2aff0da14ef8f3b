"""Three app-nodes change the rooms of the same clients at the same moments, and Redis is slow in turn for each of them.

So commands come to the io-node in another order than changes came to the records. All in one process: three server
objects, the bus in memory, and the hub of an io-node.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.agreement import Members, differences, members_by

from app_node import ClusterServer
from io_node.socketio.absent import Absent
from io_node.socketio.client import Client, SessionLimits
from io_node.socketio.counters import ClientCounters
from io_node.socketio.hub import Hub
from io_node.turns import Turns
from sio_cluster.protocol.codec import decode_downlink, encode_uplink
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import LEVEL, ClientConnected, EventReceived, Fact, Handshake
from sio_cluster.streams.api.appends import Append
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

CONFIG = config_of(heartbeat_ms=200, lease_ms=5_000, node_timeout_ms=6_000, shutdown_ms=1_500, lanes=4)
HOME = "io1-aaaaaa"
CLIENTS = 6
ROOMS = ("a", "b")


class Quiet:
    """A session, and its connection, of whom nothing is asked."""

    def __init__(self) -> None:
        self.counters = ClientCounters()
        self.limits = SessionLimits(10, 10, 1_000, 45.0)
        self.name = "c1"
        self.connection: Any = self
        self.transport = "websocket"

    def send(self, message: object) -> None:
        """To a client that does not listen."""


class IoNode:
    """An inbox, the hub, and the lanes to which it tells what has changed."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.bus = MemoryBus(CONFIG, broker)
        self.hub = Hub(
            counters=ClientCounters(), absent=Absent(lambda: 0.0), turns=Turns(), on_room_changed=self._changed
        )
        self._numbers = itertools.count(1)
        self._facts: list[tuple[int, Fact]] = []

    async def open(self) -> None:
        await self.bus.start()
        await self.bus.registry.register_io_node(HOME, {"level": str(LEVEL)})
        await self.bus.registry.heartbeat(HOME, 3_600_000)

    async def run(self) -> None:
        reader = self.bus.inbox_reader(HOME)
        while True:
            for entry in await reader.read(1_000):
                self.hub.begin(entry.id)
                self.hub.execute(decode_downlink(entry.entry).commands)
            facts, self._facts = self._facts, []
            for lane, fact in facts:
                await self._tell(lane, fact)

    async def connect(self, sid: str) -> None:
        connected = ClientConnected(sid, "c1", "/", None, Handshake("GET", "/", "", [], "192.0.2.1"), "websocket")
        session: Any = Quiet()
        self.hub.add(Client(session, connected, lane_of(sid, CONFIG.lanes), self.hub))
        await self.bus.records.store([connected])
        await self._tell(lane_of(sid, CONFIG.lanes), connected)

    async def event(self, sid: str, *event: str) -> None:
        await self._tell(lane_of(sid, CONFIG.lanes), EventReceived(sid, None, json.dumps(event).encode()))

    def _changed(self, lane: int, fact: Fact) -> None:
        self._facts.append((lane, fact))

    async def _tell(self, lane: int, fact: Fact) -> None:
        number = next(self._numbers)
        entry = encode_uplink(HOME, number, [fact])
        await self.bus.appender.append([Append(self.bus.keys.uplink(lane), HOME, number, entry, 1 << 24)])

    def rooms(self, sid: str) -> set[str]:
        [client] = [client for client in self.hub.clients() if client.sid == sid]
        return {str(room) for room in client.rooms}


def server(broker: MemoryBroker, draws: random.Random) -> ClusterServer:
    """An app-node for which each part of Redis is slow at other moments."""

    def make_bus(config: Any) -> MemoryBus:
        bus = MemoryBus(config, broker)
        bus.records.update = slow(bus.records.update, draws)  # type: ignore[method-assign]
        bus.selections.change = slow(bus.selections.change, draws)  # type: ignore[method-assign]
        bus.appender.flush = slow(bus.appender.flush, draws)  # type: ignore[method-assign]
        return bus

    sio = ClusterServer(CONFIG, make_bus=make_bus)

    @sio.event
    async def enter(sid: str, room: str) -> None:
        await sio.enter_room(sid, room)

    @sio.event
    async def leave(sid: str, room: str) -> None:
        await sio.leave_room(sid, room)

    return sio


def slow(operation: Callable[..., Any], draws: random.Random) -> Any:
    async def slowly(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(draws.choice([0, 0, 0.003, 0.01]))
        answer = await operation(*args, **options)
        await asyncio.sleep(draws.choice([0, 0, 0.003, 0.01]))
        return answer

    return slowly


@pytest.mark.parametrize("seed", range(6))
async def test_records_and_hubs_agree_in_the_end(seed: int) -> None:
    draws, broker = random.Random(seed), MemoryBroker()
    io = IoNode(broker)
    await io.open()
    servers = [server(broker, draws) for _ in range(3)]
    reading = asyncio.create_task(io.run())
    sids = [f"{HOME}.{number:016d}" for number in range(CLIENTS)]
    try:
        await asyncio.gather(*[sio.start() for sio in servers])
        for sid in sids:
            await io.connect(sid)
        await until(lambda: all(any(sio.rooms(sid) for sio in servers) for sid in sids))

        async def act() -> None:
            for _ in range(15):
                sio, sid, room = draws.choice(servers), draws.choice(sids), draws.choice(ROOMS)
                match draws.choice(["own", "own", "enter", "leave", "enter all", "leave all", "close"]):
                    case "own":
                        await io.event(sid, draws.choice(["enter", "leave"]), room)
                    case "enter":
                        await sio.enter_room(sid, room)
                    case "leave":
                        await sio.leave_room(sid, room)
                    case "enter all":
                        await sio.enter_rooms(room, room=draws.choice([None, *ROOMS]), except_room=sid)
                    case "leave all":
                        await sio.leave_rooms(room, room=draws.choice([None, *ROOMS]), except_room=sid)
                    case _:
                        await sio.close_room(room)

        await asyncio.gather(*[act() for _ in range(6)])

        await until_they_agree(lambda: places(broker, io, servers, sids))
    finally:
        for sio in servers:
            await sio.shutdown()
        reading.cancel()
        await asyncio.wait([reading])


def places(broker: MemoryBroker, io: IoNode, servers: list[ClusterServer], sids: list[str]) -> dict[str, Members]:
    """Who is in which room, as the records, the hub and each app-node know it. The holder of a lane has its copy."""
    return {
        "records": members_by((sid, map(str, broker.clients[sid].rooms)) for sid in sids),
        "hub": members_by((sid, io.rooms(sid)) for sid in sids),
        **{
            f"app-node {number}": members_by((sid, {str(room) for room in sio.rooms(sid)} - {sid}) for sid in sids)
            for number, sio in enumerate(servers)
        },
    }


async def until_they_agree(look: Callable[[], dict[str, Members]]) -> None:
    """Fails with what still differs after 15 s."""
    try:
        await until(lambda: not differences(look()))
    except TimeoutError:
        pytest.fail("\n".join(differences(look())))


async def until(condition: Callable[[], bool]) -> None:
    """Polls: what it waits for is in many places."""
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.02)
