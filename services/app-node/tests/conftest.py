"""A stage for app-nodes: a broker in memory or a real Valkey, and an io-node played by the test."""

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
import structlog
import uvloop
from socketio.packet import Packet

from app_node.app import BusFactory
from app_node.interface.server import ClusterServer
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_downlink, encode_app_inbox, encode_downlink, encode_uplink
from sio_cluster.protocol.ids import lane_of, new_node_id, new_sid
from sio_cluster.protocol.messages import (
    LEVEL,
    Accept,
    AckReceived,
    AppInboxItem,
    Canary,
    ClientConnected,
    ClientDisconnected,
    Command,
    EventReceived,
    Fact,
    Handshake,
    Join,
    Leave,
    RoomChanged,
)
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.configs import config_of

_T = TypeVar("_T")

PATIENCE_S = 25.0
"""How long is waited for what comes within a moment on a machine that does nothing else."""

FAST = {"heartbeat_ms": 100, "lease_ms": 600, "node_timeout_ms": 1000, "shutdown_ms": 1500, "lanes": 4}


def memory_bus(broker: MemoryBroker) -> BusFactory:
    return lambda config: MemoryBus(config, broker)


class FakeIoNode:
    """An io-node without sockets: `connect`, `event`, ... append facts; `commands` gathers what comes back."""

    def __init__(self, config: Config, make_bus: BusFactory, name: str) -> None:
        self.id = new_node_id(name, os.urandom)
        self.config = config
        self.bus = make_bus(config)
        self.inbox = self.bus.inbox_reader(self.id)
        self.commands: list[Command] = []
        self._seq = itertools.count(1)
        self._last_canary = 0
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def start(self, ttl_ms: int = 3_600_000, level: int = LEVEL) -> None:
        await self.bus.start()
        await self.bus.registry.register_io_node(self.id, {"level": str(level)})
        await self.bus.registry.heartbeat(self.id, ttl_ms)
        self._reader = asyncio.create_task(self._read())

    async def stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        await self.inbox.close()
        await self.bus.stop()

    async def _read(self) -> None:
        while True:
            for entry in await self.inbox.read(1000):
                for command in decode_downlink(entry.entry).commands:
                    if isinstance(command, Canary):
                        self._last_canary = command.nonce
                    else:
                        self.commands.append(command)
            self._changed.set()

    async def wait(self, number: int, kind: type[_T], timeout_s: float = PATIENCE_S) -> list[_T]:
        """The commands of this kind, once there are `number` of them."""
        async with asyncio.timeout(timeout_s):
            while sum(isinstance(command, kind) for command in self.commands) < number:
                self._changed.clear()
                await self._changed.wait()
        return [command for command in self.commands if isinstance(command, kind)]

    async def until(self, condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Until this holds, which depends on the commands that have come."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def settle(self) -> None:
        """Until all facts are handled and committed, and what app-nodes have said meanwhile has come."""
        await self.lanes_emptied()
        canary = Canary(self._last_canary + 1)
        await self._append([(self.bus.keys.inbox(self.id), encode_downlink, [canary])])
        await self.until(lambda: self._last_canary == canary.nonce)

    async def lanes_emptied(self) -> None:
        """Until every lane is empty. Polls: Redis tells nobody."""
        async with asyncio.timeout(PATIENCE_S):
            while await self._held():
                await asyncio.sleep(0.02)

    async def _held(self) -> int:
        bus = self.bus
        keys = [bus.keys.uplink(lane) for lane in range(self.config.lanes)]
        if isinstance(bus, MemoryBus):
            return sum(len(bus.broker.streams[key].entries) for key in keys)
        assert isinstance(bus, RedisBus)
        return sum(await bus.connections.run(*[("XLEN", key) for key in keys]))

    # --- facts

    async def send(self, *facts: Fact) -> None:
        by_lane: dict[int, list[Fact]] = {}
        for fact in facts:
            by_lane.setdefault(lane_of(fact.sid, self.config.lanes), []).append(fact)
        await self._append([(self.bus.keys.uplink(lane), encode_uplink, of_lane) for lane, of_lane in by_lane.items()])

    async def send_raw(self, lane: int, entry: bytes) -> None:
        await self._append([(self.bus.keys.uplink(lane), lambda *_: entry, [])])

    async def _append(self, batches: list[tuple[str, Any, list[Any]]]) -> None:
        appends = []
        for key, encode, items in batches:
            seq = next(self._seq)
            appends.append(Append(key, self.id, seq, encode(self.id, seq, items), 64_000_000))
        results = await self.bus.appender.append(appends)
        assert set(results) == {AppendResult.APPENDED}

    def connected(self, namespace: str = "/", auth: Any = None, sid: str | None = None) -> ClientConnected:
        return ClientConnected(
            sid or new_sid(self.id, os.urandom),
            "c1",
            namespace,
            None if auth is None else json.dumps(auth).encode(),
            Handshake("GET", "/socket.io/", "EIO=4&transport=polling", [("host", "example.org:81")], "10.1.2.3", 99),
            "polling",
        )

    async def ask(self, namespace: str = "/", auth: Any = None) -> str:
        """A client that wants to connect: its sid."""
        fact = self.connected(namespace, auth)
        await self.bus.records.store([fact])
        await self.send(fact)
        return fact.sid

    async def connect(self, namespace: str = "/", auth: Any = None) -> str:
        """A client that the application lets in."""
        sid = await self.ask(namespace, auth)
        await self.until(lambda: sid in self.accepted())  # another may be accepted again, by who took its lane over
        return sid

    def accepted(self) -> list[str]:
        return [command.sid for command in self.commands if isinstance(command, Accept)]

    async def event(self, sid: str, name: Any, *args: Any, ack_id: int | None = None) -> None:
        await self.send(event(sid, name, *args, ack_id=ack_id))

    async def disconnect(self, sid: str, reason: str = "transport close") -> None:
        await self.send(ClientDisconnected(sid, reason))

    async def tell(self, *changes: Join | Leave) -> None:
        """What a hub says of rooms that changed by command of an app-node that may not hold the client's lane."""
        assert all(change.tell for change in changes)
        await self.send(*[RoomChanged(change.sid, change.room, isinstance(change, Join)) for change in changes])

    async def answer(self, app_node: str, ack_id: int, sid: str, *args: Any) -> None:
        await self.to_app_node(app_node, AckReceived(sid, ack_id, json.dumps(list(args)).encode()))

    async def to_app_node(self, app_node: str, *items: AppInboxItem) -> None:
        """One entry of this app-node's inbox."""
        await self._append([(self.bus.keys.inbox(app_node), encode_app_inbox, list(items))])


def event(sid: str, name: Any, *args: Any, ack_id: int | None = None) -> EventReceived:
    return EventReceived(sid, ack_id, json.dumps([name, *args]).encode())


class Stage:
    """One cluster: its settings, its io-nodes, and server objects that stop with the test."""

    def __init__(self, config: Config, make_bus: BusFactory, broker: MemoryBroker | None) -> None:
        self.config = config
        self.make_bus = make_bus
        self.broker = broker
        self.servers: list[ClusterServer] = []
        self.io_nodes: list[FakeIoNode] = []

    def server(self, **options: Any) -> ClusterServer:
        """A server object whose handlers are not registered yet."""
        server = ClusterServer(self.config, make_bus=self.make_bus, **options)
        self.servers.append(server)
        return server

    async def io_node(self, name: str = "io1", level: int = LEVEL) -> FakeIoNode:
        node = FakeIoNode(self.config, self.make_bus, name)
        self.io_nodes.append(node)
        await node.start(level=level)
        return node

    def echo_server(self, log: list[Any] | None = None, **options: Any) -> ClusterServer:
        """One that answers `echo` with its argument, and writes down in `log` who said what."""
        server = self.server(**options)

        @server.event
        async def echo(sid: str, number: int) -> int:
            if log is not None:
                log.append((sid, number))
            return number

        return server

    def event(self, sid: str, name: Any, *args: Any, ack_id: int | None = None) -> EventReceived:
        return event(sid, name, *args, ack_id=ack_id)

    async def until(self, condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Polls: the cluster's state lies in several processes."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for server in self.servers:
            await server.shutdown()
        for node in self.io_nodes:
            await node.stop()


async def crash(server: ClusterServer) -> None:
    """As kill -9: everything stops where it stands, nothing is handed over."""
    node, server._node = server._node, None
    assert node is not None
    node._stopping = True
    node.over.set()  # a handler may end its process while `start` still waits: nobody else would wake it
    lanes = list(node.keeper.held.values())
    await node.loops.stop()
    for lane in lanes:
        node.uplink.drop_lane(lane)
    await node.uplink.close()
    await node.bus.stop()


@pytest.fixture(autouse=True)
def one_json_module_for_each_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """python-socketio keeps the module that a server was given with `json=` for the whole process."""
    monkeypatch.setattr(Packet, "json", Packet.json)


@pytest.fixture(scope="session", autouse=True)
def quick_logs() -> None:
    """structlog's default draws tracebacks with all locals, which takes longer than a short lease lasts."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that the nodes run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["memory", pytest.param("redis", marks=(pytest.mark.slow, pytest.mark.ci_only))])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """The same test over the fakes, and in CI over a real Valkey too. The contract suite proves both to be the same."""
    if request.param == "redis":
        base: Config = request.getfixturevalue("redis_config")
        stage = Stage(base.model_copy(update=FAST), RedisBus, None)
    else:
        broker = MemoryBroker()
        stage = Stage(config_of(**FAST), memory_bus(broker), broker)
    yield stage
    await stage.stop()


@pytest.fixture
async def memory_stage() -> AsyncIterator[Stage]:
    broker = MemoryBroker()
    stage = Stage(config_of(**FAST), memory_bus(broker), broker)
    yield stage
    await stage.stop()


@pytest.fixture
def make_stage() -> type[Stage]:
    return Stage


@pytest.fixture
def kill() -> Any:
    return crash
