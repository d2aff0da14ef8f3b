"""The real Compose stack: hardened, spoken to through nginx, scaled up and down under clients, its app restarted.

The tests run in this order on one stack; each leaves it as the next expects it.
"""

import asyncio
import subprocess

import aiohttp
import pytest
from tests.compose.conftest import REPLICAS

from sio_cluster.protocol.ids import name_of, node_of

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

POLLING = "/socket.io/?EIO=4&transport=polling"


async def _open(session: aiohttp.ClientSession, url: str) -> str:
    """A new Engine.IO session by polling; its sid."""
    async with session.get(url + POLLING) as answer:
        body = await answer.text()
    assert answer.status == 200, body
    return body.split('"sid":"')[1].split('"')[0]


async def _speak(session: aiohttp.ClientSession, url: str, sid: str) -> str:
    """Joins the main namespace by polling alone: each request must find the session's node."""
    async with session.post(f"{url}{POLLING}&sid={sid}", data="40") as answer:
        assert (answer.status, await answer.text()) == (200, "ok")
    async with session.get(f"{url}{POLLING}&sid={sid}") as answer:
        return await answer.text()


async def _shout_reaches_all_once(clients, text):
    await clients[0].shout(text)
    await asyncio.gather(*(client.until(lambda one: text in one.shouted) for client in clients))
    assert all(client.shouted.count(text) == 1 for client in clients)


def test_every_container_is_hardened_and_only_nginx_is_published(compose):
    containers = compose.containers()
    assert len(containers) == REPLICAS + 3
    for container in containers:
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"] not in ("", "0", "root"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["RestartPolicy"]["Name"] == "unless-stopped", name
        assert container["State"]["Health"]["Status"] == "healthy", name
        published = [
            binding for bindings in container["NetworkSettings"]["Ports"].values() for binding in bindings or []
        ]
        assert bool(published) == ("nginx" in name), name


@pytest.mark.parametrize("service", ["io-node", "app-node"])
def test_images_hold_no_compiler_no_node_and_no_build_tools(compose, service):
    found = compose.run(
        *("exec", "-T", service, "sh", "-c", "for t in gcc cc node npm hatchling; do command -v $t; done; true")
    )
    assert found == ""


@pytest.mark.parametrize(("service", "port"), [("io-node", 8081), ("app-node", 8090)])
def test_images_hold_the_compiled_modules_and_run_them(compose, service, port):
    ask = f"import urllib.request as http; print(http.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
    assert 'compiled="yes"' in compose.run("exec", "-T", service, "python", "-c", ask)


async def test_polling_reaches_the_node_that_owns_the_session(compose):
    seen = set()
    async with aiohttp.ClientSession() as session:
        for _ in range(3 * REPLICAS):
            sid = await _open(session, compose.url)
            assert (await _speak(session, compose.url, sid)).startswith('40{"sid":"')
            seen.add(name_of(node_of(sid) or ""))
    assert seen == compose.names("io-node")


@pytest.mark.parametrize("name", ["0123456789ab", "io1", "redis", "nginx", "localhost"])
async def test_a_sid_of_no_living_node_is_an_unknown_session(compose, name):
    sid = f"{name}-aaaaaa.AAAAAAAAAAAAAAAA"
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        async with session.get(f"{compose.url}{POLLING}&sid={sid}") as answer:
            assert answer.status == 400
            assert (await answer.json())["code"] == 1
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await session.ws_connect(f"{compose.url}/socket.io/?EIO=4&transport=websocket&sid={sid}")
        assert refusal.value.status == 400


async def test_an_oversized_request_is_refused_by_the_io_node(compose):
    async with aiohttp.ClientSession() as session:
        sid = await _open(session, compose.url)
        async with session.post(f"{compose.url}{POLLING}&sid={sid}", data="4" * 1_200_000) as answer:
            assert answer.status == 413
            assert "nginx" not in await answer.text()


async def test_the_page_and_the_official_client_are_served(compose):
    async with aiohttp.ClientSession() as session:
        async with session.get(compose.url) as answer:
            assert answer.status == 200
            assert "text/html" in answer.headers["Content-Type"]
        async with session.get(f"{compose.url}/socket.io/socket.io.js") as answer:
            assert answer.status == 200
            assert "Socket.IO v4" in await answer.text()


async def test_clients_of_both_transports_on_all_nodes_hear_each_other(compose, clients):
    assert {client.io_node for client in clients} == compose.names("io-node")
    await _shout_reaches_all_once(clients, "hello")
    assert set(await asyncio.gather(*(client.echo(number) for number, client in enumerate(clients)))) == (
        compose.names("app-node")
    )


async def test_a_restarted_app_node_costs_nobody_the_connection(compose, clients):
    stop = asyncio.Event()

    async def talk(client):
        number = 0
        while not stop.is_set():
            await client.echo(number)
            number += 1
        return number

    talking = asyncio.gather(*(talk(client) for client in clients))
    await compose.in_thread(compose.run, "restart", "app-node")
    await compose.in_thread(compose.run, "kill", "-s", "KILL", "app-node")
    await compose.in_thread(compose.up, io_node=REPLICAS, app_node=1)
    stop.set()
    assert min(await talking) > 0
    assert [client.disconnects for client in clients] == [0] * len(clients)
    await _shout_reaches_all_once(clients, "still here")


async def test_scaled_to_2_and_to_5_under_clients(compose, clients):
    nginx = compose.containers("nginx")[0]["State"]["StartedAt"]

    await compose.in_thread(compose.up, io_node=2, app_node=1)
    left = compose.names("io-node")
    assert len(left) == 2
    await asyncio.gather(*(client.until(lambda one: one.connected and one.io_node in left) for client in clients))
    await _shout_reaches_all_once(clients, "two are enough")

    await compose.in_thread(compose.up, io_node=5, app_node=1)
    new = compose.names("io-node") - left
    assert len(new) == 3
    reached: set[str] = set()
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while not reached >= new:  # they have the fewest connections
            sid = await _open(session, compose.url)
            assert (await _speak(session, compose.url, sid)).startswith('40{"sid":"')
            reached.add(name_of(node_of(sid) or ""))
    assert all(client.connected for client in clients)
    await _shout_reaches_all_once(clients, "five are more")
    assert compose.containers("nginx")[0]["State"]["StartedAt"] == nginx


async def test_two_app_nodes_share_the_clients(compose, clients):
    await compose.in_thread(compose.up, io_node=5, app_node=2)
    names = compose.names("app-node")
    assert len(names) == 2
    async with asyncio.timeout(30):
        while set(await asyncio.gather(*(client.echo(1) for client in clients))) != names:
            pass
    assert [client.disconnects for client in clients] == [0] * len(clients)
    await _shout_reaches_all_once(clients, "both")


def test_down_leaves_nothing(compose):
    compose.run("down", "--volumes", "--timeout", "20")
    left = subprocess.run(
        ("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={compose.project}"),
        capture_output=True,
        check=True,
    )
    assert left.stdout == b""
