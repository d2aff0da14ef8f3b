"""Who is connected, how many, and who is present: `GET /api/clients`, `GET /api/count` and `GET /api/presence`."""

import asyncio
import os
from functools import partial
from typing import Any

import httpx
import pytest

from sio_cluster.protocol.ids import new_sid
from sio_cluster.protocol.messages import LEVEL, SERVER_LEVEL, ClientConnected, Handshake, Room
from sio_cluster.streams.api.presences import Meta
from sio_cluster.streams.api.records import Accepted, Joined

from .conftest import ADMIN, SHOP, World

pytestmark = pytest.mark.slow

SECRET = "secret-cookie"


class People:
    """A cluster of nodes of this release, and clients that were let in."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def let_in(self, *rooms: Any, namespace: str = "/") -> str:
        """One client more, which enters these rooms: its sid."""
        sid, records = new_sid(self.world.io_node, os.urandom), self.world.bus.records
        handshake = Handshake("GET", "/socket.io/", "EIO=4", [("cookie", SECRET)], "10.1.2.3", 99)
        await records.store([ClientConnected(sid, "c", namespace, None, handshake, "websocket")])
        await records.update([Accepted(sid), *[Joined(sid, namespace, room) for room in rooms]])
        return sid

    async def ask(self, what: str, key: str = ADMIN, **which: Any) -> httpx.Response:
        return await self.world.http.get(f"/api/{what}", params=which, headers={"X-API-Key": key})

    async def page(self, **which: Any) -> tuple[list[dict[str, Any]], str | None]:
        answer = await self.ask("clients", **which)
        assert answer.status_code == 200, answer.text
        result = answer.json()["result"]
        return result["clients"], result["cursor"]

    async def count(self, **which: Any) -> int:
        answer = await self.ask("count", **which)
        assert answer.status_code == 200, answer.text
        number: int = answer.json()["result"]
        return number


@pytest.fixture
async def people(world: World) -> People:
    await world.bus.registry.register_io_node(world.io_node, {"level": str(LEVEL)})
    people = People(world)
    async with asyncio.timeout(10):
        while (await people.ask("count")).status_code == 503:  # the index of older nodes is built anew
            await world.bus.room_index.restore()
    return people


async def test_all_pages_have_everybody_once(people: People) -> None:
    sids = {await people.let_in() for _ in range(7)}
    met: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        clients, following = await people.page(limit=3, **cursor)
        assert len(clients) <= 3
        met += [client["sid"] for client in clients]
        if following is None:
            break
        cursor = {"cursor": following}
    assert sorted(met) == sorted(sids)
    assert await people.count() == 7


async def test_a_cursor_is_for_the_question_that_gave_it(people: People) -> None:
    for _ in range(2):
        await people.let_in("7", 7)
    for asked, another in (
        ({}, {"room": "7"}),
        ({"room": "7"}, {"room_number": "7"}),
        ({"room_number": "7"}, {"room_number": "7", "namespace": "/shop"}),
    ):
        _, cursor = await people.page(limit=1, **asked)
        assert len((await people.page(limit=1, cursor=cursor, **asked))[0]) == 1
        refused = await people.ask("clients", cursor=cursor, **another)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["field"]) == (400, "malformed", "cursor")
        assert "another room or namespace" in error["message"]


async def test_what_is_said_of_a_client(people: People) -> None:
    """Neither its session nor its headers."""
    sid = await people.let_in("a", 7)
    [client], cursor = await people.page()
    assert cursor is None
    assert client.pop("connected_at") > 1_700_000_000
    assert client.pop("rooms")[0] == sid
    assert client == {
        "sid": sid, "namespace": "/", "transport": "websocket", "io_node": people.world.io_node
    }  # fmt: skip
    assert SECRET not in (await people.ask("clients")).text


async def test_of_a_room_and_of_a_namespace(people: People) -> None:
    in_a = await people.let_in("a", "7")
    with_number = await people.let_in("a", 7)
    elsewhere = await people.let_in("a", namespace="/shop")
    questions: list[tuple[dict[str, Any], set[str]]] = [
        ({"room": "a"}, {in_a, with_number}),
        ({"room": "7"}, {in_a}),
        ({"room_number": 7}, {with_number}),
        ({"room": in_a}, {in_a}),
        ({"room": "nobody"}, set()),
        ({"room": "a", "namespace": "/shop"}, {elsewhere}),
        ({"namespace": "/shop"}, {elsewhere}),
    ]
    for which, sids in questions:
        clients, _ = await people.page(**which)
        assert {client["sid"] for client in clients} == sids
        assert await people.count(**which) == len(sids)


async def test_a_page_has_100_clients_unless_more_are_asked_for(people: People) -> None:
    for _ in range(101):
        await people.let_in()
    clients, cursor = await people.page()
    assert (len(clients), cursor is None) == (100, False)
    assert len((await people.page(limit=1000))[0]) == 101


async def test_who_is_present(people: People) -> None:
    """Also in a cluster where no app-node runs."""
    shows: list[tuple[str, Room, str]] = [
        ("ada", "a", "/"), ("ada", "a", "/"), ("grace", "a", "/"), ("hedy", 7, "/"), ("bob", "a", "/shop")
    ]  # fmt: skip
    for number, (key, room, namespace) in enumerate(shows):
        sid = await people.let_in(room, namespace=namespace)
        shown = Meta(namespace, room, key, b'{"tab":%d}' % number, f"{number:016}")
        await people.world.bus.presences.show(sid, shown, 1000)
    answer = (await people.ask("presence", room="a")).json()["result"]
    assert {key: sorted(meta["tab"] for meta in shown["metas"]) for key, shown in answer.items()} == {
        "ada": [0, 1], "grace": [2]
    }  # fmt: skip
    assert {meta["phx_ref"] for meta in answer["ada"]["metas"]} == {f"{0:016}", f"{1:016}"}
    assert list((await people.ask("presence", room_number=7)).json()["result"]) == ["hedy"]
    assert list((await people.ask("presence", room="a", namespace="/shop")).json()["result"]) == ["bob"]
    assert (await people.ask("presence", room="7")).json() == {"result": {}}


@pytest.mark.parametrize("what", ["clients", "count", "presence"])
async def test_scopes_of_questions(people: People, what: str) -> None:
    ask = partial(people.ask, what, room="a")
    refused = await ask(SHOP, namespace="/shop")
    assert (refused.status_code, refused.json()["error"]["field"]) == (403, None)
    keys = people.world.api_keys
    keys.write_text(keys.read_text().replace("verbs=emit,", f"verbs={what},"))
    async with asyncio.timeout(10):
        while (await ask(SHOP, namespace="/shop")).status_code != 200:  # it looks once a second
            await asyncio.sleep(0.05)
    refused = await ask(SHOP)
    assert (refused.status_code, refused.json()["error"]["field"]) == (403, "namespace")


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("clients?limit=0", "limit"),
        ("clients?limit=1001", "limit"),
        ("clients?limit=many", "limit"),
        ("clients?limit=1.0", "limit"),
        ("clients?cursor=x", "cursor"),
        ("clients?cursor=", "cursor"),
        ("clients?romm=a", "romm"),
        ("clients?room=a&room=b", "room"),
        ("clients?namespace=shop", "namespace"),
        ("count?room_number=a", "room_number"),
        ("count?room_number=9223372036854775808", "room_number"),
        ("count?room=a&room_number=1", "room_number"),
        ("count?limit=1", "limit"),
        (f"count?room={'a' * 1001}", "room"),
        ("presence", "room"),
        ("presence?room=io1-aaaaaa.AAAAAAAAAAAAAAAA", "room"),
        ("presence?room=a&room_number=1", "room_number"),
        ("presence?room=a&limit=1", "limit"),
        (f"presence?room={'a' * 1001}", "room"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_bad_questions_are_400_with_the_fields_name(lasting_world: World, url: str, field: str | None) -> None:
    refused = await lasting_world.http.get(f"/api/{url}", headers={"X-API-Key": ADMIN})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["field"]) == (400, "malformed", field)
    assert field is None or error["message"].startswith(field)


async def test_while_an_older_node_is_registered(world: World) -> None:
    """Its changes are not in the room index: 503, and a program may ask again."""
    await world.bus.registry.register_io_node("io2-aaaaaa", {"level": str(SERVER_LEVEL - 1)})
    refused = await world.http.get("/api/count", headers={"X-API-Key": ADMIN})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    assert refused.headers["retry-after"] == "1"


async def test_a_redis_that_refuses_is_503(world: World) -> None:
    """Such as one that takes rights away. Here something else is in the place of the io-nodes."""
    nodes = world.bus.keys.io_nodes
    await world.bus.connections.run(("RENAME", nodes, f"{nodes}:kept"), ("SET", nodes, "no hash"))
    refused = await world.http.get("/api/info", headers={"X-API-Key": ADMIN})
    await world.bus.connections.run(("RENAME", f"{nodes}:kept", nodes))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
