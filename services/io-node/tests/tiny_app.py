"""The smallest application: it holds all lanes, accepts, echoes, answers. In place of an app-node, in these tests."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec

from io_node.app import IoNode
from io_node.front import AsgiApp
from io_node.listener import Listener
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_app_inbox, decode_uplink, encode_downlink
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import (
    LEVEL,
    Accept,
    Ack,
    AckExpected,
    AckMissed,
    AckReceived,
    AckRequest,
    ClientConnected,
    Command,
    Disconnect,
    Emit,
    EventReceived,
    Fact,
    Join,
    Refuse,
)
from sio_cluster.streams.api.appends import Append
from sio_cluster.streams.api.bus import Bus
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import commit

NODE = "app1-bbbbbb"
FAST: dict[str, Any] = {"HTTP_PORT": 0, "LANES": 4, "HEARTBEAT_MS": 100, "NODE_TIMEOUT_MS": 2_000, "DRAIN_MS": 200}
"""Settings with which a node starts, beats and stops quickly."""
PATIENCE_S = 25.0
"""How long is waited for what comes within a moment on a machine that does nothing else."""


def memory_bus(broker: MemoryBroker) -> Callable[[Config], Bus]:
    return lambda config: MemoryBus(config, broker)


class TinyApp:
    """Namespaces `/` and `/custom` exist. `facts` are all that came; `inbox` is what came into its own inbox."""

    def __init__(self, config: Config, broker: MemoryBroker | None) -> None:
        self.facts: list[Fact] = []
        self.inbox: list[AckReceived | AckMissed | AckExpected] = []
        self.accepting = True
        self._config = config
        self._came = asyncio.Condition()
        self._namespaces: dict[str, str] = {}
        self._seq = 0
        self._retry = Retry("tiny_app", Counter())
        self._bus: Bus = RedisBus(config) if broker is None else MemoryBus(config, broker)
        self._reader = self._bus.lane_reader(NODE)
        self._inbox = self._bus.inbox_reader(NODE)

    async def run(self) -> None:
        await self._bus.start()
        await self._bus.registry.register_app_node(NODE, {"level": str(LEVEL)})
        await self._bus.registry.heartbeat(NODE, 600_000)
        leases = {}
        for lane in range(self._config.lanes):
            lease = await self._bus.leases.acquire(lane, NODE, 600_000)
            assert lease is not None
            leases[lane] = lease
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_lanes(leases))
                tasks.create_task(self._read_inbox())
        finally:
            await self._bus.stop()

    async def wait_for(self, condition: Callable[[list[Fact]], bool], timeout_s: float = PATIENCE_S) -> None:
        """Until the facts that came meet the condition."""
        async with asyncio.timeout(timeout_s), self._came:
            await self._came.wait_for(lambda: condition(self.facts))

    async def send(self, sid: str, *commands: Command) -> None:
        """To the io-node of this client."""
        self._seq += 1
        node = node_of(sid)
        assert node is not None
        entry = encode_downlink(NODE, self._seq, list(commands))
        await self._bus.appender.append([Append(self._bus.keys.inbox(node), NODE, self._seq, entry, 64_000_000)])

    async def _read_lanes(self, leases: dict[int, Lease]) -> None:
        while True:
            try:
                entries = await self._reader.read(list(leases), 1_000, 100)
            except BusError:
                await asyncio.sleep(0.02)
                continue
            for entry in entries:
                await self._take(list(decode_uplink(entry.entry).facts))
                await self._retry.call(partial(commit, self._bus.appender, leases[entry.lane], entry))

    async def _read_inbox(self) -> None:
        while True:
            try:
                entries = await self._inbox.read(1_000)
            except BusError:
                await asyncio.sleep(0.02)
                continue
            for entry in entries:
                items = decode_app_inbox(entry.entry).items
                self.inbox += [item for item in items if isinstance(item, AckReceived | AckMissed | AckExpected)]
                await self._take([item for item in items if isinstance(item, AckReceived)])

    async def _take(self, facts: list[Fact]) -> None:
        async with self._came:  # before a client has its answer: tests look at them then
            self.facts += facts
            self._came.notify_all()
        for fact in facts:
            if isinstance(fact, ClientConnected) and self.accepting:
                await self.send(fact.sid, *self._connect(fact))
            elif isinstance(fact, EventReceived):
                await self.send(fact.sid, *self._handle(fact))

    def _connect(self, fact: ClientConnected) -> list[Command]:
        self._namespaces[fact.sid] = fact.namespace
        if fact.namespace not in ("/", "/custom"):
            return [Refuse(fact.sid, b'{"message":"Invalid namespace"}', fact.generation)]
        auth = Emit(
            fact.namespace, self._packet("2", fact.sid, b'["auth",' + (fact.auth or b"{}") + b"]"), to=[fact.sid]
        )
        return [auth, Accept(fact.sid, fact.generation)]

    def _handle(self, fact: EventReceived) -> list[Command]:
        sid, namespace = fact.sid, self._namespaces[fact.sid]
        name, *args = json.loads(fact.data)
        count = len(fact.attachments)
        match name:
            case "message":
                data = msgspec.json.encode(["message-back", *args])
                kind = f"5{count}-" if count else "2"
                return [Emit(namespace, self._packet(kind, sid, data), fact.attachments, to=[sid])]
            case "message-with-ack":
                kind = f"6{count}-" if count else "3"
                return [
                    Ack(sid, self._packet(f"{kind}", sid, msgspec.json.encode(args), fact.ack_id), fact.attachments)
                ]
            case "join":
                return [Join(sid, args[0]), Ack(sid, self._packet("3", sid, b"[]", fact.ack_id))]
            case "broadcast":
                data = msgspec.json.encode(["news", *args[1:]])
                kind = f"5{count}-" if count else "2"
                return [Emit(namespace, self._packet(kind, sid, data), fact.attachments, to=args[0])]
            case "ask-me":
                question = self._packet("2", sid, b'["question"]', 7_000_000_001)
                return [Emit(namespace, question, to=[sid], ack=AckRequest(NODE, 7_000_000_001))]
            case "disconnect-me":
                return [Disconnect(sid, close=bool(args and args[0]))]
            case _:
                return []

    def _packet(self, kind: str, sid: str, data: bytes, ack_id: int | None = None) -> bytes:
        namespace = self._namespaces[sid]
        prefix = "" if namespace == "/" else f"{namespace},"
        return f"{kind}{prefix}{'' if ack_id is None else ack_id}".encode() + data


class World:
    """An io-node that serves, and the tiny application behind it."""

    def __init__(self, listener: Listener, app: TinyApp) -> None:
        self.listener = listener
        self.node = listener.node
        self.app = app
        self.url = listener.url
        self.ws_url = listener.url.replace("http", "ws")


@asynccontextmanager
async def serving(config: Config, broker: MemoryBroker | None, app: AsgiApp | None = None) -> AsyncIterator[World]:
    """`broker` None: over the Redis of `config`."""
    bus = RedisBus if broker is None else memory_bus(broker)
    tiny = TinyApp(config, broker)
    running = asyncio.create_task(tiny.run())
    listener = Listener(app, config, IoNode(config, bus=bus, settle_ms=20))
    async with listener:
        await listener.wait_until_ready(5)
        yield World(listener, tiny)
        assert not running.done(), running
    running.cancel()
    await asyncio.wait({running})


def kinds(facts: list[Fact], kind: type) -> list[Any]:
    return [fact for fact in facts if isinstance(fact, kind)]
