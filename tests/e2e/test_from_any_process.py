"""Clients of a real cluster, reached from processes without handlers: `Emitter`, the HTTP API, the command line."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import socketio
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV

from app_node import Emitter
from sio_cluster.testing.http import http_client
from sio_stack import Stack
from sio_stack.ready import answers_http
from sio_stack.settings import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

APP = str(ROOT / "tests/e2e/rooms_app.py") + ":sio"
COMMAND = str(Path(sys.executable).with_name("sio-cluster"))
KEY = "0123456789abcdef"


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


async def test_clients_are_reached_from_everywhere(tmp_path: Path) -> None:
    async with Stack(io_nodes=2, app_nodes=2, app=APP, port=0, env=ENV) as stack:
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
            *[("io-node", "alive", 1)] * 2, *[("app-node", "alive", None)] * 2
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
