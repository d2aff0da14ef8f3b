"""Clients that claim their session back, and an application that writes down what it hears of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import Accept, ClientConnected, ClientDisconnected
from sio_cluster.protocol.recovery import hash_of
from sio_cluster.streams.api.records import Claim, ClaimRefused

from ..conftest import PATIENCE_S

PID = hash_of("secret")
WINDOW_MS = 60_000


class Returning:
    """One client that connects to `home`, loses its connection, and comes back, there or elsewhere."""

    def __init__(self, home: Any, namespace: str = "/") -> None:
        self.home = home
        self.namespace = namespace
        self.generation = 0
        self.sid = ""

    async def come(self, auth: Any = None) -> None:
        """Connects for the first time, and is let in."""
        await self.ask(auth)
        await self.let_in()

    async def ask(self, auth: Any = None) -> None:
        fact = replace(self.home.connected(self.namespace, auth), pid_hash=PID)
        self.sid = fact.sid
        await self.home.bus.records.store([fact])
        await self.home.send(fact)

    async def let_in(self) -> None:
        """Waits until the application lets in its last connection, and the session may be claimed."""
        await self.home.until(lambda: Accept(self.sid, self.generation) in self.home.commands)
        records = self.home.bus.records
        async with asyncio.timeout(PATIENCE_S):
            while (record := await records.load(self.sid)) is not None and not record.accepted:
                await asyncio.sleep(0.01)

    async def claim(self, at: Any = None, auth: Any = None) -> ClientConnected:
        """Claims the session back. Returns what its io-node has to say of it, and has not said yet."""
        at = at or self.home
        claim = await at.bus.records.claim(self.sid, self.namespace, PID, at.id)
        assert isinstance(claim, Claim), claim
        self.generation = claim.generation
        holder = "" if at is self.home else at.id
        fact: ClientConnected = at.connected(self.namespace, auth, self.sid)
        fact = replace(fact, pid_hash=PID, holder=holder, generation=claim.generation, transport="websocket")
        await at.bus.records.store([fact])
        return fact

    async def come_back(self, at: Any = None, auth: Any = None) -> None:
        """Claims the session back, and is let in."""
        at = at or self.home
        await at.send(await self.claim(at, auth))
        await self.let_in()

    def gone(
        self, reason: str = reasons.TRANSPORT_CLOSE, generation: int | None = None, keep_ms: int = WINDOW_MS
    ) -> ClientDisconnected:
        """What its io-node says when it has lost its connection."""
        return ClientDisconnected(self.sid, reason, self.generation if generation is None else generation, keep_ms)

    async def lose(self, at: Any = None, reason: str = reasons.TRANSPORT_CLOSE, keep_ms: int = WINDOW_MS) -> None:
        """Loses its connection. Returns when its app-node knows."""
        at = at or self.home
        await at.send(self.gone(reason, keep_ms=keep_ms))
        await at.settle()

    async def claimable(self) -> bool:
        """Whether its session may still be claimed back. If so it is, and the io-node dies of it."""
        claim = await self.home.bus.records.claim(self.sid, self.namespace, PID, self.home.id)
        return not isinstance(claim, ClaimRefused)


class Application:
    """`heard`: what a server object heard of its clients, such as "connect", "connect recovered" and "ping timeout"."""

    def __init__(self, stage: Any, **options: Any) -> None:
        self.heard: list[str] = []
        self.auths: list[Any] = []
        self.refuses = False
        self.sio = sio = stage.server(**options)

        @sio.event
        async def connect(sid: str, environ: Any, auth: Any, is_recovered: bool) -> bool:
            self.heard.append("connect recovered" if is_recovered else "connect")
            self.auths.append(auth)
            return not self.refuses

        @sio.event
        async def disconnect(sid: str, reason: str) -> None:
            self.heard.append(reason)

        @sio.event
        async def rooms(sid: str) -> list[str]:
            return sorted(map(str, sio.rooms(sid)))


def never_ends(app: Any, name: str) -> asyncio.Event:
    """From now on, this handler of the application never ends. Returns an event: it has begun."""
    begun, handler = asyncio.Event(), app.sio.handlers["/"][name]

    async def hangs(*args: Any) -> None:
        await handler(*args)
        begun.set()
        await asyncio.Event().wait()

    async def connect(sid: str, environ: Any, auth: Any, is_recovered: bool) -> None:
        await hangs(sid, environ, auth, is_recovered)

    async def disconnect(sid: str, reason: str) -> None:
        await hangs(sid, reason)

    app.sio.on(name, connect if name == "connect" else disconnect)
    return begun


def commits_nothing(app: Any) -> list[Any]:
    """From now on, entries that are done stay in their lanes. Returns the list into which they go."""
    done: list[Any] = []
    app.sio.node.commits.put = done.append
    return done


@dataclass(frozen=True, slots=True)
class Takeover:
    """Two applications, of which the first runs and is about to die, and an io-node with a client that is connected."""

    first: Application
    second: Application
    home: Any
    client: Returning
    kill: Callable[[Any], Awaitable[None]]

    async def hangs_in(self, handler: str, *facts: Any) -> None:
        """The first application gets these facts. This handler of it begins, and never ends."""
        begun = never_ends(self.first, handler)
        await self.home.send(*facts)
        await begun.wait()

    async def handles(self, *facts: Any) -> None:
        """The first application handles these facts, and does not commit their entry, nor any later one."""
        done = commits_nothing(self.first)
        await self.home.send(*facts)
        await self.home.until(lambda: done)

    async def happens(self) -> None:
        """The first application dies, as of kill -9, and the second one begins."""
        await self.kill(self.first.sio)
        await self.second.sio.start()


async def forgotten(home: Any, client: Returning) -> None:
    """Until its time is over, and the application has been told of it."""
    async with asyncio.timeout(PATIENCE_S):
        while await home.bus.records.load(client.sid) is not None:  # Redis tells nobody
            await asyncio.sleep(0.02)
    await home.settle()
