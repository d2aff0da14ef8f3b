"""Rooms of clients that several app-nodes serve, and who is there: in one cluster of real processes.

Processes without handlers reach the clients too: `Emitter`, the HTTP API and the command line. Each client's own
handlers know what any app-node has changed of its rooms. Queries give the same answer from every app-node, whatever
node is killed or stands still.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import socketio
from tests.conformance.raw import Wire
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV, answer

from app_node import ClusterServer, Emitter, get_client
from sio_cluster.testing.http import http_client
from sio_stack import Stack
from sio_stack.ready import answers_http
from sio_stack.settings import free_ports

pytestmark = [
    pytest.mark.forked("io_node.cli", "app_node.cli", "sio-cluster"),
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]

APP = str(ROOT / "tests/e2e/rooms_app.py") + ":sio"
COMMAND = str(Path(sys.executable).with_name("sio-cluster"))
KEY = "0123456789abcdef"
TOLD = '42["told"]'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Stack]:
    """Whose clients come back within a second, or never: those of a killed io-node are counted that long."""
    async with Stack(io_nodes=2, app_nodes=3, app=APP, port=0, env=ENV | {"RECOVERY_WINDOW_MS": "1000"}) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def stack(cluster: Stack) -> Stack:
    """The cluster of this file, with three app-nodes, whatever the test before has left."""
    while len(cluster.app_nodes) < 3:
        await cluster.start_app_node()
    return cluster


# --- From processes without handlers


class Listener:
    """A client that writes down what it hears, and answers `vote`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.client = socketio.AsyncClient()
        self.client.on("vote", lambda question: [self.name, question])
        self.client.on("*", lambda *said: self.heard.put_nowait(said))
        self.client.on("disconnect", lambda reason: self.heard.put_nowait(("gone",)))

    async def hears(self, *said: Any) -> None:
        async with asyncio.timeout(30):
            assert await self.heard.get() == said


async def test_clients_are_reached_from_everywhere(stack: Stack, tmp_path: Path) -> None:
    one, two = Listener("one"), Listener("two")
    for listener, node in zip((one, two), stack.io_nodes, strict=True):
        await listener.client.connect(node.url, transports=["websocket"])
    sid = one.client.get_sid()
    await asyncio.to_thread(by_emitter, stack.redis_url, sid)
    await one.hears("news", "room")
    for listener in (one, two):
        await listener.hears("news", "all")
    async with api(stack.redis_url, tmp_path) as post:
        assert await post("call", {"event": "vote", "data": 7, "sid": sid}) == ["one", 7]
        said = [{"verb": "emit", "event": "batch", "data": number} for number in range(50)]
        move = {"verb": "leave_room", "sid": sid, "room": "vip"}
        await post("batch", {"commands": [*said, move, {"verb": "emit", "event": "no", "room": "vip"}]})
        for number in range(50):
            await one.hears("batch", number)
            await two.hears("batch", number)
    assert json.loads(await command(stack, "call", "vote", "8", "--sid", sid)) == ["one", 8]
    await command(stack, "emit", "bye", "--room", sid)
    await one.hears("bye")
    [client] = json.loads(await command(stack, "clients", "--room", sid, "--json"))
    assert (client["sid"], client["transport"]) == (sid, "websocket")
    assert len(json.loads(await command(stack, "clients", "--json"))) == 2
    nodes = json.loads(await command(stack, "nodes", "--json"))
    assert [(node["kind"], node["state"], node["clients"]) for node in nodes] == [
        *[("io-node", "alive", 1)] * 2, *[("app-node", "alive", None)] * 3
    ]  # fmt: skip
    await command(stack, "disconnect", sid)
    await one.hears("gone")
    await two.client.disconnect()


def by_emitter(redis_url: str, sid: str) -> None:
    with Emitter({"REDIS_URL": redis_url}) as sio:
        assert sio.call("vote", "?", sid=sid, timeout=5) == ["one", "?"]
        sio.enter_room(sid, "vip")
        sio.emit("news", "room", room="vip")
        sio.emit("news", "all")


@contextlib.asynccontextmanager
async def api(redis_url: str, folder: Path) -> AsyncIterator[Any]:
    """Asks a running API, and gives the result."""
    (folder / "keys").write_text(f"test {KEY}\n")
    [port] = free_ports(1)
    env = os.environ | {"REDIS_URL": redis_url, "API_PORT": str(port), "API_KEYS_FILE": str(folder / "keys")}
    process = await asyncio.create_subprocess_exec(COMMAND, "api", env=env)
    async with http_client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": KEY}) as http:

        async def post(verb: str, body: dict[str, Any]) -> Any:
            answer = await http.post(f"/api/{verb}", json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()["result"]

        try:
            while not await answers_http(port):
                assert process.returncode is None
                await asyncio.sleep(0.05)
            yield post
        finally:
            process.terminate()
            assert await process.wait() == 0


async def command(stack: Stack, *words: str) -> str:
    env = os.environ | {"REDIS_URL": stack.redis_url}
    process = await asyncio.create_subprocess_exec(COMMAND, *words, env=env, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


# --- From every app-node


async def rooms_of(wires: list[Wire]) -> tuple[set[int], list[list[str]]]:
    """Which processes answered, and which rooms each client's handler knows."""
    answers: list[Any] = await asyncio.gather(*(answer(wire, '["rooms"]') for wire in wires))
    return {pid for pid, _ in answers}, [rooms for _, rooms in answers]


async def test_every_holder_knows_the_rooms_of_its_clients(stack: Stack) -> None:
    async with AsyncExitStack() as connections:
        wires = [
            await connections.enter_async_context(Wire.open(node.url)) for node in stack.io_nodes for _ in range(12)
        ]
        sids = [await wire.join(packets=1) for wire in wires]
        pids, known = await rooms_of(wires)
        assert len(pids) > 1, "several app-nodes serve the clients"
        assert known == [[]] * 24

        for room in ("kept", "closed"):
            for sid in sids:
                await answer_told(wires[0], f'["enter","{sid}","{room}"]')
            for wire in wires[1:]:
                assert await wire.receive() == TOLD
            assert (await rooms_of(wires))[1] == [sorted({"kept", room})] * 24

        await answer_told(wires[0], '["close","closed"]')
        for wire in wires[1:]:
            assert await wire.receive() == TOLD
        assert (await rooms_of(wires))[1] == [["kept"]] * 24

        await stack.stop_app_node(0, signal.SIGKILL)
        assert (await rooms_of(wires))[1] == [["kept"]] * 24


async def answer_told(wire: Wire, event: str) -> None:
    """Sends an event, whose handler may tell the sender too."""
    await wire.send(f"421{event}")
    while (message := await wire.receive(15)) != "431[]":
        assert message == TOLD


async def told(wires: list[Wire]) -> list[Any]:
    """What all their handlers say of the room, without doubles."""
    answers: list[Any] = await asyncio.gather(*(answer(wire, '["who","a"]') for wire in wires))
    return [each for index, each in enumerate(answers) if each not in answers[:index]]


def truth(inside: list[str], number: int) -> list[Any]:
    rooms = {"a": len(inside)} if inside else {}
    return [[len(inside), sorted(inside), sorted(inside), list(rooms), number, rooms]]


async def until_counted(sio: ClusterServer, number: int) -> None:
    async with asyncio.timeout(30):
        while await sio.count() != number:  # Redis tells nobody
            await asyncio.sleep(0.05)


async def test_every_app_node_tells_the_truth(stack: Stack) -> None:
    """The last test: an io-node is missing after it."""
    async with AsyncExitStack() as connections:
        sio = get_client({"REDIS_URL": stack.redis_url})
        connections.push_async_callback(sio.shutdown)
        first, second = [
            [await connections.enter_async_context(Wire.open(node.url)) for _ in range(8)] for node in stack.io_nodes
        ]
        sids = [await wire.join(packets=1) for wire in (*first, *second)]
        inside = [*sids[:4], *sids[8:12]]
        for sid in inside:
            await answer_told(first[0], f'["enter","{sid}","a"]')
        for wire in (*first[1:4], *second[:4]):
            await wire.receive()
        await until_counted(sio, 16)
        assert await told([*first, *second]) == truth(inside, 16)

        os.kill(stack.io_nodes[1].pid, signal.SIGSTOP)  # asks nobody
        assert (await sio.count("a"), len(await sio.clients("a"))) == (8, 8)
        os.kill(stack.io_nodes[1].pid, signal.SIGCONT)
        await stack.stop_app_node(0, signal.SIGKILL)
        assert (await sio.count("a"), len(await sio.clients("a"))) == (8, 8)
        assert await told([*first, *second]) == truth(inside, 16)

        await stack.remove_io_node(1, signal.SIGKILL)
        assert await sio.count("a") == 8  # nobody knows yet
        await until_counted(sio, 8)
        assert await told(first) == truth(inside[:4], 8)
