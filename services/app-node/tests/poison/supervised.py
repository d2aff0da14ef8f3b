"""App-nodes whose handlers end their process, and what is left afterwards."""

import asyncio
from collections import defaultdict
from typing import Any

from sio_cluster.protocol.messages import Ack
from sio_cluster.streams.memory import MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.dead_letters import DeadLetters

FAST = {"heartbeat_ms": 100, "lease_ms": 600, "node_timeout_ms": 1000, "shutdown_ms": 1500, "lanes": 4}
WHY = "begun 3 times and never finished"


class Supervised:
    """App-nodes that run the same handlers. One whose handler calls `die` ends there, and another one is started."""

    def __init__(self, stage: Any, kill: Any, number: int) -> None:
        self.stage = stage
        self.deaths = 0
        self.mended = False  # then nobody dies any more
        self.seen: dict[str, list[Any]] = defaultdict(list)  # by sid: what its handlers were called with
        self.order: list[str] = []
        self.servers: list[Any] = []
        self._lapses = 0  # of app-nodes that are no more
        self._kill = kill
        self._number = number
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for _ in range(self._number):
            await self._start_one()

    async def stop(self) -> None:
        for task in list(self._tasks):
            await task

    def died(self, times: int) -> bool:
        """Whether as many died as should. It is one less for each lease that ran out because the machine stood still:
        such a takeover counts as a death does, although no handler may have begun."""
        lapses = self._lapses + self.totals("lanes_lost")
        return times - lapses <= self.deaths <= times

    async def die(self, server: Any) -> None:
        if self.mended:
            return
        if server in self.servers:  # else another handler has ended it just now
            self.deaths += 1
            self.order.append("death")
            self.servers.remove(server)
            self._lapses += server.node.counters.lanes_lost
            task = asyncio.create_task(self._replace(server))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.Event().wait()

    async def _replace(self, server: Any) -> None:
        await self._kill(server)
        await self._start_one()

    async def _start_one(self) -> None:
        server = self.stage.server()
        self._register(server)
        self.servers.append(server)
        await server.start()

    def _register(self, server: Any) -> None:
        @server.event
        async def connect(sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
            self.seen[sid].append("again" if is_reconnect else "connect")
            if auth == ("restore" if is_reconnect else "connect"):
                await self.die(server)

        @server.event
        async def echo(sid: str, number: int, is_redelivered: bool) -> int:
            self.seen[sid].append(number)
            self.order.append("echo")
            return number

        @server.event
        async def poison(sid: str, is_redelivered: bool) -> str:
            self.seen[sid].append("redelivered poison" if is_redelivered else "poison")
            await self.die(server)
            return "mended"

        @server.event
        async def late(sid: str) -> None:
            """Finds itself in two processes that die. Then it takes a while, and ends."""
            if self.deaths < 2:
                await asyncio.Event().wait()
            self.order.append("late begins")
            await asyncio.sleep(0.3)
            self.order.append("late ends")

        @server.event
        async def hang(sid: str) -> None:
            self.seen[sid].append("hang")
            await asyncio.Event().wait()

        @server.event
        async def disconnect(sid: str, reason: str) -> None:
            self.seen[sid].append("disconnect")
            if "deadly" in reason:
                await self.die(server)

    def totals(self, name: str) -> int:
        """The sum of a count over the app-nodes that live."""
        return sum(getattr(server.node.counters, name) for server in self.servers)


async def letters(stage: Any) -> list[str]:
    """Why the dead letters are what they are."""
    if stage.broker is not None:
        return [why for dead in stage.broker.dead.values() for _, why in dead]
    bus = RedisBus(stage.config)
    found = await DeadLetters(bus.connections, bus.keys).newest(range(stage.config.lanes), 10)
    await bus.stop()
    return [letter.why for letter in found]


async def quiet(io: Any, stage: Any) -> None:
    """Until lanes and quarantines are empty, and all app-nodes know it."""
    await io.settle()
    bus, lanes = io.bus, range(stage.config.lanes)
    keys = [bus.keys.uplink(~lane) for lane in lanes]
    async with asyncio.timeout(8):
        while True:
            if isinstance(bus, MemoryBus):
                held = sum(len(bus.broker.streams[key].entries) for key in keys)
            else:
                held = sum(await bus.connections.run(*[("XLEN", key) for key in keys]))
            infos = await bus.registry.app_nodes()
            if not held and not any(info.get("quarantined") for info in infos.values()):
                return
            await asyncio.sleep(0.02)


def answers(io: Any, sid: str) -> list[bytes]:
    return [command.packet for command in io.commands if isinstance(command, Ack) and command.sid == sid]


async def requeue_all(stage: Any) -> None:
    bus = RedisBus(stage.config)
    dead = DeadLetters(bus.connections, bus.keys)
    for letter in await dead.newest(range(stage.config.lanes), 10):
        assert await dead.requeue(letter)
    await bus.stop()
