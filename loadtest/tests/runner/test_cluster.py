"""What may answer at an address: a cluster with or without load tests, or something else. Each refusal says why."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from loadtest.errors import CannotRun
from loadtest.runner import cluster
from loadtest.runner.options import Options

from sio_stack.settings import free_ports

pytestmark = [pytest.mark.slow]


class Server:
    """An Engine.IO server for polling, which answers with the packets that a test gives it."""

    def __init__(self) -> None:
        self.handshake = '0{"sid":"io1-abc.def","upgrades":[]}'
        self.status = 200
        self.answers: list[str] = []
        self.posted: list[str] = []
        self.url = ""

    async def get(self, request: web.Request) -> web.Response:
        if "sid" not in request.query:
            return web.Response(text=self.handshake, status=self.status)
        if not self.answers:
            await asyncio.sleep(30)
        return web.Response(text=self.answers.pop(0))

    async def post(self, request: web.Request) -> web.Response:
        assert request.query["sid"] == "io1-abc.def"
        self.posted.append(await request.text())
        return web.Response(text="ok")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/socket.io/", server.get)
    app.router.add_post("/socket.io/", server.post)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


async def test_a_cluster_that_takes_part_is_left_politely(server):
    server.answers = ['2\x1e40/loadtest,{"sid":"x"}']
    await cluster.check(server.url)
    assert server.posted == ["40/loadtest,", "3", "41/loadtest,\x1e1"]


async def test_one_without_the_namespace_is_told_what_to_do(server):
    server.answers = ["6", '44/loadtest,{"message":"Unable to connect"}']
    with pytest.raises(CannotRun, match=r"has no /loadtest namespace: start it with `make run` or with LOADTEST=1"):
        await cluster.check(server.url)


async def test_one_without_an_app_node_is_told(server, monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT_S", 0.5)
    with pytest.raises(CannotRun, match=r"is an app-node up\?"):
        await cluster.check(server.url)


@pytest.mark.parametrize(("status", "handshake"), [(404, "nothing"), (200, "<html>")])
async def test_something_else_is_told(server, status, handshake):
    server.status, server.handshake = status, handshake
    with pytest.raises(CannotRun, match=rf"is no Socket.IO server that takes polling \(HTTP {status}"):
        await cluster.check(server.url)


async def test_what_speaks_no_http_is_told():
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as other:
        url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        assert await cluster.answers(url)
        with pytest.raises(CannotRun, match="does not answer HTTP"):
            await cluster.check(url)


async def test_what_never_answers_is_told(monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT_S", 0.1)
    released = asyncio.Event()

    async def listen_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    async with await asyncio.start_server(listen_only, "127.0.0.1", 0) as other:
        with pytest.raises(CannotRun, match=r"does not answer HTTP within 0.1 s"):
            await cluster.check(f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}")
        released.set()


async def test_nobody_at_another_machines_address_starts_nothing(monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT_S", 0.1)
    options = Options(url="http://192.0.2.1:8080")
    with pytest.raises(CannotRun, match=r"nothing answers at http://192.0.2.1:8080"):
        async with cluster.target(options, print, print):
            pass


async def test_nobody_on_this_machine_is_nobody():
    assert not await cluster.answers(f"http://127.0.0.1:{free_ports(1)[0]}")
