"""Several io-nodes and one application in one process, and clients that come back like the JavaScript client.

No sockets: a client's connection is a stand-in that closes at once.
"""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from io_node.app import IoNode
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.codec import encode_downlink
from sio_cluster.protocol.messages import (
    Accept,
    ClientConnected,
    ClientDisconnected,
    CloseRoom,
    Command,
    Emit,
    Fact,
    Handshake,
    Join,
    Refuse,
    Room,
)
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.api.inboxes import InboxEntry
from sio_cluster.streams.api.records import Accepted, Ended
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

from ..socketio.fakes import FakeConnection
from ..tiny_app import FAST, PATIENCE_S, TinyApp, kinds, memory_bus

BROWSER = Handshake("GET", "/socket.io/", "EIO=4", [("user-agent", "Mozilla/5.0")], "127.0.0.1")
PYTHON = Handshake("GET", "/socket.io/", "EIO=4", [("user-agent", "Python/3.11 aiohttp/3.14")], "127.0.0.1")


async def until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Waits for what has no event of its own."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.001)


@dataclass
class Browser:
    """One client of the main namespace. It keeps pid and offset as socket.io-client 4.8 does.

    `events` are what handlers would get: names and arguments, without the offset.
    """

    handshake: Handshake = BROWSER
    namespace: str = "/"
    sid: str = ""
    pid: Any = None
    offset: Any = None
    recovered: bool | None = None
    refused: bool = False
    takes: bool = True
    disconnected: bool = False
    events: list[Any] = field(default_factory=list)
    attachments: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    connection: FakeConnection = field(default_factory=FakeConnection)
    _seen: int = 0

    def open(self, node: "Node", auth: dict[str, Any] | None = None) -> None:
        """Connects, and sends a CONNECT with what it has."""
        self.connection = FakeConnection()
        self.connection.takes = self.takes
        self.connection.handshake = self.handshake
        self.connection.session = node.io_node.gate.on_connection(self.connection)
        assert self.connection.session is not None
        node.connections.append(self.connection)
        self._seen, self.recovered = 0, None
        self.send_connect(auth)

    def send_connect(self, auth: dict[str, Any] | None = None) -> None:
        known = {"pid": self.pid, "offset": self.offset} if self.pid is not None else {}
        auth = {name: value for name, value in known.items() if value is not None} | (auth or {})
        assert self.connection.session is not None
        self.connection.session.on_message(f"0{self.prefix}" + (json.dumps(auth) if auth else ""))

    @property
    def prefix(self) -> str:
        return "" if self.namespace == "/" else f"{self.namespace},"

    async def joined(self) -> "Browser":
        """Waits for the CONNECT packet."""
        await until(lambda: self.look().recovered is not None)
        return self

    async def got(self, *names: str) -> None:
        """Waits for events with these names, which are all that came."""
        await until(lambda: len(self.look().events) >= len(names))
        assert [event[0] for event in self.events] == list(names)

    def drop(self, reason: str = reasons.TRANSPORT_CLOSE) -> None:
        self.look()
        self.connection.close(reason)

    def look(self) -> "Browser":
        """Take what has come."""
        sent = self.connection.sent
        while self._seen < len(sent):
            packet = sent[self._seen]
            self._seen += 1
            self.raw.append(packet)
            self._take(packet)
        return self

    def _take(self, packet: bytes) -> None:
        kind, rest = packet[:1], packet[1:].removeprefix(self.prefix.encode())
        match kind:
            case b"0":
                data = json.loads(rest)
                pid = data.get("pid")
                self.recovered = pid is not None and pid == self.pid
                self.sid, self.pid = data["sid"], pid
            case b"1":
                self.disconnected = True
            case b"3":
                self.answers.append(rest)
            case b"4":
                self.refused = True
                self.recovered = False
            case b"2" | b"5":
                if kind == b"5":
                    rest = rest.partition(b"-")[2].removeprefix(self.prefix.encode())
                event = json.loads(rest[rest.index(b"[") :])
                if rest[:1] != b"[":
                    event.append(f"ack {rest[: rest.index(b'[')].decode()}")
                elif self.pid is not None:
                    self.offset = event.pop()
                self.events.append(event)
            case _:
                self.attachments.append(packet)


class App(TinyApp):
    """Keeps records, and may say more when a client connects: `on_connect(fact)` before its Accept.

    `recording`: an app-node writes that it let a client in behind its Accept. False: it has not come to that yet.
    """

    def __init__(self, config: Config, broker: MemoryBroker) -> None:
        super().__init__(config, broker)
        self.on_connect: Callable[[ClientConnected], list[Command]] = lambda fact: []
        self.refusing: set[int] = set()
        self.forgetting = True
        self.recording = True

    async def _take(self, facts: list[Fact]) -> None:
        async with self._came:
            self.facts += facts
            self._came.notify_all()
        for fact in facts:
            if isinstance(fact, ClientConnected):
                await self._let_in(fact)
            elif isinstance(fact, ClientDisconnected) and self.forgetting:
                await self._bus.records.forget([Ended(fact.sid, fact.generation, fact.keep_ms)])

    async def _let_in(self, fact: ClientConnected) -> None:
        if not self.accepting:
            return
        if fact.generation in self.refusing:
            await self.send(fact.sid, Refuse(fact.sid, b'{"message":"no"}', fact.generation))
            await self._bus.records.forget([Ended(fact.sid, fact.generation)])
            return
        if self.recording:
            await self._bus.records.update([Accepted(fact.sid)])
        await self.send(fact.sid, *self.on_connect(fact), Accept(fact.sid, fact.generation))


@dataclass(eq=False)
class Node:
    io_node: IoNode
    task: "asyncio.Task[None]"
    connections: list[FakeConnection] = field(default_factory=list)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Not set: it reads its inbox, and carries nothing out."""

    def __post_init__(self) -> None:
        self.goes_on.set()
        take = self.io_node._downlink._take

        async def when_it_goes_on(entries: list[InboxEntry]) -> None:
            await self.goes_on.wait()
            await take(entries)

        self.io_node._downlink._take = when_it_goes_on

    @property
    def id(self) -> str:
        return self.io_node.node_id

    @property
    def counters(self) -> Any:
        return self.io_node.client_counters

    def later(self) -> None:
        """A second has passed for its log: what comes from now on is forgotten by itself."""
        retention = self.io_node._recovery.retention
        clock = retention._clock
        retention._clock = lambda: clock() + 1.0


class Cluster:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.broker = MemoryBroker()
        self.app = App(config, self.broker)
        self.bus = MemoryBus(config, self.broker)
        self.nodes: list[Node] = []
        self.skipped = 0
        """Entries that concerned nobody at a home."""
        self._seq = 0

    async def start(self) -> Node:
        """One more io-node, which is ready."""
        config = self.config.model_copy(update={"node_name": f"io{len(self.nodes) + 1}"})
        io_node = IoNode(config, bus=memory_bus(self.broker), settle_ms=0)
        node = Node(io_node, asyncio.create_task(io_node.run()))
        self.nodes.append(node)
        await asyncio.wait_for(io_node.ready.wait(), PATIENCE_S)
        await until(lambda: io_node.unready_because == "")
        return node

    async def kill(self, node: Node) -> None:
        """As kill -9: nothing more comes from it. Its home is parked, as whoever buries it does."""
        node.task.cancel()
        await asyncio.wait({node.task})
        await self.bus.homes.park(node.id, 1_000_000)

    async def drain(self, node: Node) -> None:
        for connection in node.connections:
            connection.close(reasons.NODE_DRAINED)
        await node.io_node.drain()
        node.task.cancel()
        await asyncio.wait({node.task})

    async def say(self, *commands: Command) -> None:
        """One entry with these commands, to all homes."""
        self._seq += 1
        entry = encode_downlink("app9-cccccc", self._seq, list(commands))
        homes = await self.bus.registry.registered_io_nodes()
        appends = [
            Append(self.bus.keys.inbox(home), "app9-cccccc", self._seq, entry, 64_000_000, **rooms_of(commands, home))
            for home in homes
        ]
        self.skipped += (await self.bus.appender.append(appends)).count(AppendResult.NOBODY)

    async def settled(self) -> None:
        """All that was said has been carried out where the home is read."""
        for node in self.nodes:
            if not node.task.done():
                await until(functools.partial(self._has_carried_out, node))

    def _has_carried_out(self, node: Node) -> bool:
        place = node.io_node._recovery.homes._own.place
        return int(place.partition(b"-")[0]) >= self.broker.streams[self.bus.keys.inbox(node.id)].last_id

    async def away(self, browser: Browser) -> None:
        """The application has handled the client's disconnect."""
        await until(lambda: self.is_away(browser.sid))

    async def gone(self, browser: Browser) -> None:
        """The application has handled the client's disconnect, and nobody can claim its session."""
        await until(lambda: browser.sid not in self.broker.clients)

    def is_away(self, sid: str) -> bool:
        record = self.broker.clients.get(sid)
        return record is not None and record.away_until is not None

    async def browser(self, node: Node, **fields: Any) -> Browser:
        """A client that has joined."""
        browser = Browser(**fields)
        browser.open(node)
        return await browser.joined()

    @property
    def connected(self) -> ClientConnected:
        """The last client that the application heard of."""
        fact: ClientConnected = kinds(self.app.facts, ClientConnected)[-1]
        return fact

    @property
    def disconnected(self) -> ClientDisconnected:
        """The last disconnect that it heard of."""
        fact: ClientDisconnected = kinds(self.app.facts, ClientDisconnected)[-1]
        return fact

    def facts(self, sid: str) -> list[tuple[str, int]]:
        """Which connects and disconnects of this client the application heard of, with their generations."""
        return [
            ("connect" if isinstance(fact, ClientConnected) else "disconnect", fact.generation)
            for fact in self.app.facts
            if isinstance(fact, ClientConnected | ClientDisconnected) and fact.sid == sid
        ]


def rooms_of(commands: Sequence[Command], home: str) -> dict[str, Any]:
    """What an app-node says of the rooms of an entry."""
    concerned: set[Room] = set()
    for command in commands:
        match command:
            case Emit(to=list(rooms), ack=None):
                concerned.update(rooms)
            case CloseRoom(room=room):
                concerned.add(room)
            case _:
                concerned.add(home)
    is_for_all = any(isinstance(room, str) and room.startswith(home) for room in concerned)
    lets_into = {command.room for command in commands if isinstance(command, Join)}
    return {"only_for": None if is_for_all else concerned, "lets_into": lets_into}


@asynccontextmanager
async def cluster(nodes: int = 2, **settings: Any) -> AsyncIterator[Cluster]:
    config = config_of(**(FAST | {"CONNECT_RATE": 0} | settings))
    world = Cluster(config)
    running = asyncio.create_task(world.app.run())
    await asyncio.sleep(0)
    try:
        for _ in range(nodes):
            await world.start()
        yield world
        assert not running.done(), running
    finally:
        tasks = [running, *(node.task for node in world.nodes)]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def emit(name: str, to: list[Any] | None = None, skip: list[str] | None = None, **more: Any) -> Emit:
    """An event with this name in the main namespace."""
    return Emit("/", b'2["%b"]' % name.encode(), to=to, skip=skip or [], **more)
