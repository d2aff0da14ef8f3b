"""What the page of Socket.IO's Admin UI asks and hears, by a stock client, over two io-nodes and two app-nodes.

The tests of npm's `@socket.io/admin-ui` ask the same of Socket.IO's own server.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
import socketio
from socketio.exceptions import ConnectionError as RefusedError
from tests.conftest import ROOT

from sio_stack import Stack

pytestmark = [pytest.mark.forked, pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

APP = str(ROOT / "tests/e2e/admin_app.py") + ":sio"
PASSWORD = {"username": "ada", "password": "correct horse"}
ENV = {"LEASE_MS": "2000", "NAMESPACES": "*"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(app=APP, io_nodes=2, app_nodes=2, env=ENV) as stack:
        yield stack


class Admin:
    """A stock client that notes all that it hears."""

    def __init__(self) -> None:
        self.io = socketio.AsyncClient(reconnection=False)
        self.heard: list[tuple[str, tuple[Any, ...]]] = []
        self._more = asyncio.Event()
        self.io.on("*", self._hear, namespace="/admin")

    def _hear(self, event: str, *args: Any) -> None:
        self.heard.append((event, args))
        self._more.set()

    def all(self, event: str) -> list[tuple[Any, ...]]:
        return [args for name, args in self.heard if name == event]

    async def hears(self, event: str, *beginning: Any) -> tuple[Any, ...]:
        """The arguments of the first event of this name whose arguments begin like this."""
        async with asyncio.timeout(90):
            while True:
                for args in self.all(event):
                    if args[: len(beginning)] == beginning:
                        return args
                self._more.clear()
                await self._more.wait()

    async def hears_that(self, holds: Callable[[], Any]) -> None:
        """Until this holds, which depends on what is heard."""
        async with asyncio.timeout(90):
            while not holds():
                self._more.clear()
                await self._more.wait()

    async def order(self, event: str, *args: Any) -> None:
        await self.io.emit(event, args, namespace="/admin")


@asynccontextmanager
async def admin(stack: Stack, auth: Any = PASSWORD, node: int = 0) -> AsyncIterator[Admin]:
    """An administrator at this io-node."""
    one = Admin()
    url = f"http://127.0.0.1:{stack.io_nodes[node].port}"
    await one.io.connect(url, auth=auth, namespaces=["/admin"], wait_timeout=60)
    try:
        yield one
    finally:
        await one.io.disconnect()


@asynccontextmanager
async def client(stack: Stack, namespace: str = "/", node: int = 1, **options: Any) -> AsyncIterator[Any]:
    """Somebody at this io-node."""
    io = socketio.AsyncClient(reconnection=False)
    url = f"http://127.0.0.1:{stack.io_nodes[node].port}"
    await io.connect(url, namespaces=[namespace], wait_timeout=60, **options)
    try:
        yield io
    finally:
        await io.disconnect()


@pytest.mark.parametrize("auth", [None, {**PASSWORD, "password": "wrong"}, {"sessionId": "wrong"}])
async def test_strangers_are_refused(stack: Stack, auth: Any) -> None:
    io = socketio.AsyncClient(reconnection=False)
    refused: list[Any] = []
    io.on("connect_error", refused.append, namespace="/admin")
    with pytest.raises(RefusedError):
        await io.connect(stack.url, auth=auth, namespaces=["/admin"], wait_timeout=60)
    assert refused == [{"message": "invalid credentials"}]


async def test_a_session_counts_wherever_the_administrator_comes_back(stack: Stack) -> None:
    async with admin(stack) as first:
        [session] = await first.hears("session")
    for node in (0, 1, 0, 1, 0, 1):  # each sid has a lane of its own, so both app-nodes get some
        async with admin(stack, {"sessionId": session}, node) as again:
            await again.hears("config")


async def test_all_nodes_are_servers_with_their_figures(stack: Stack) -> None:
    names = {node.name for node in (*stack.io_nodes, *stack.app_nodes)}
    async with client(stack) as bob, admin(stack) as ada:

        def last() -> dict[str, Any]:
            return {stats["serverId"].split("-")[0]: stats for (stats,) in ada.all("server_stats")}

        def is_settled() -> bool:
            return set(last()) == names and sum(stats["clientsCount"] for stats in last().values()) == 2

        await ada.hears_that(is_settled)
        pids = {name: stats["pid"] for name, stats in last().items()}
        assert pids == {node.name: node.pid for node in (*stack.io_nodes, *stack.app_nodes)}
        assert last()[stack.io_nodes[1].name]["clientsCount"] == 1
        counts: dict[str, int] = {}
        for stats in last().values():
            for namespace in stats["namespaces"]:
                counts[namespace["name"]] = counts.get(namespace["name"], 0) + namespace["socketsCount"]
        assert (counts["/"], counts["/admin"]) == (1, 1)
        await bob.call("echo", "x" * 1000)
        await ada.hears_that(lambda: sum(_traffic(ada, "bytesIn")) > 1000 and _traffic(ada, "packetsOut"))


def _traffic(ada: Admin, kind: str) -> list[int]:
    return [
        event["count"]
        for (stats,) in ada.all("server_stats")
        for event in stats["aggregatedEvents"]
        if event["type"] == kind
    ]


async def _until_watched(stack: Stack, ada: Admin) -> None:
    """Until both app-nodes tell of events. Each sid has a lane of its own, so each serves some of these clients."""
    for _ in range(6):
        async with client(stack) as one:
            while one.get_sid() not in [args[1] for args in ada.all("event_received")]:
                await one.call("echo", 1)
                await asyncio.sleep(0.2)


def _entered(ada: Admin, sid: str) -> Counter[str]:
    """How often a page lists the client in each room, at most. It lists it once more for each time that it hears of it
    without hearing that the client has left."""
    inside, most = Counter[str](), Counter[str]()
    for event, args in ada.heard:
        if event in ("room_joined", "room_left") and args[2] == sid:
            room = args[1]
            inside[room] = inside[room] + 1 if event == "room_joined" else 0
            most[room] = max(most[room], inside[room])
    return most


async def test_a_client_of_another_io_node_from_its_connect_to_its_end(stack: Stack) -> None:
    async with admin(stack) as ada:
        await ada.hears("server_stats")
        await _until_watched(stack, ada)
        async with client(stack, headers={"Cookie": "id=hunter2", "X-Thing": "shown"}) as bob:
            sid = bob.get_sid()
            await ada.hears_that(lambda: sid in [shown["id"] for shown, _ in ada.all("socket_connected")])
            [shown] = [shown for shown, _ in ada.all("socket_connected") if shown["id"] == sid]
            assert "hunter2" not in str(shown)
            assert shown["handshake"]["headers"]["x-thing"] == "shown"
            assert shown["rooms"] == [sid]
            await bob.call("enter", "own")
            assert (await ada.hears("room_joined", "/", "own", sid))[:3] == ("/", "own", sid)
            assert (await ada.hears("event_received", "/", sid))[2] == ["enter", "own"]
            await ada.order("join", "/", "vip", sid)
            await ada.hears("room_joined", "/", "vip", sid)
            await ada.order("join", "/", "club", "vip")
            await ada.hears("room_joined", "/", "club", sid)
            await ada.order("leave", "/", "vip", "club")
            await ada.hears("room_left", "/", "vip", sid)
            news: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            bob.on("news", news.set_result)
            await ada.order("emit", "/", "club", "news", 42)
            async with asyncio.timeout(90):
                assert await news == 42
            await ada.order("_disconnect", "/", False, sid)
            assert (await ada.hears("socket_disconnected", "/", sid))[2] == "server disconnect"
        assert set(_entered(ada, sid)) == {"own", "vip", "club"}
        assert set(_entered(ada, sid).values()) == {1}


async def test_namespaces_that_no_handler_names(stack: Stack) -> None:
    async with client(stack, "/dynamic-7") as bob, admin(stack) as ada:
        sid = bob.get_sid("/dynamic-7")

        def shown() -> set[str]:
            """In the list, or as a change: io-nodes say which namespaces there are when somebody watches."""
            listed = {one["id"] for (clients,) in ada.all("all_sockets") for one in clients}
            return listed | {one["id"] for one, _ in ada.all("socket_connected")}

        await ada.hears_that(lambda: sid in shown())
        assert len(ada.all("all_sockets")) == 1
