"""HTTP_HOST=:: listens on IPv4 and IPv6, and names clients of IPv4 by their plain address."""

import socket

import pytest
from fastapi import FastAPI, Request

from sio_cluster.node.process.listening import plain_address
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.http import http_client

from .by_hand import open_raw
from .tiny_app import FAST, World, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no socket takes IPv4 and IPv6 here"),
]


def who_asks() -> FastAPI:
    app = FastAPI()

    @app.get("/who")
    async def who(request: Request) -> str | None:
        return None if request.client is None else request.client.host

    return app


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_both_kinds_of_address(host: str) -> None:
    async with serving(Config(FAST, HTTP_HOST="::"), MemoryBroker(), who_asks()) as world:
        url = f"http://{host}:{world.listener.port}"
        async with http_client(base_url=url) as http:
            assert (await http.get("/who")).json() == host.strip("[]")
            forwarded = {"X-Forwarded-For": "203.0.113.9"}
            assert (await http.get("/who", headers=forwarded)).json() == "203.0.113.9"
        assert await _remote_addr(world, url) == host.strip("[]")


async def _remote_addr(world: World, url: str) -> str:
    world.ws_url = url.replace("http", "ws")
    async with open_raw(world) as raw:
        await raw.connect()
        await world.app.wait_for(lambda facts: any(isinstance(fact, ClientConnected) for fact in facts))
    [connected] = [fact for fact in world.app.facts if isinstance(fact, ClientConnected)]
    return connected.handshake.remote_addr


@pytest.mark.parametrize(
    ("address", "plain"), [("::ffff:10.0.0.1", "10.0.0.1"), ("::ffff:a00:1", "::ffff:a00:1"), ("10.0.0.1", "10.0.0.1")]
)
def test_plain_addresses(address: str, plain: str) -> None:
    assert plain_address(address) == plain
