"""What the API does, and what it says about requests that it does not carry out."""

import asyncio
import base64
import json
from typing import Any

import pytest

from app_node.api.keys import VERBS
from sio_cluster.protocol.codec import encode_app_inbox
from sio_cluster.protocol.messages import (
    SERVER_LEVEL,
    AckReceived,
    CloseRoom,
    Disconnect,
    DisconnectMany,
    Emit,
    Join,
    JoinMany,
    LeaveMany,
)
from sio_cluster.streams.api.appends import Append

from .conftest import ADMIN, COUNTER, SHOP, WATCH, World

pytestmark = pytest.mark.slow


async def test_emit(world: World) -> None:
    body = {"event": "news", "data": {"n": 1}, "room": ["a", 7], "skip_sid": world.sid, "namespace": "/shop"}
    done = await world.post("emit", body)
    assert (done.status_code, done.json()) == (200, {"result": None})
    [emit] = await world.commands()
    assert isinstance(emit, Emit)
    assert emit.packet == b'2/shop,["news",{"n":1}]'
    assert (emit.to, emit.skip) == (["a", 7], [world.sid])


async def test_an_emit_says_who_is_left_out_and_what_is_out_of_date_soon(world: World) -> None:
    body = {"event": "moved", "room": "a", "except_room": ["b", 7, world.sid], "volatile": True}
    assert (await world.post("emit", body)).status_code == 200
    assert (await world.post("batch", {"commands": [{"verb": "emit", **body}]})).status_code == 200
    for emit in await world.commands():
        assert isinstance(emit, Emit)
        assert (emit.to, emit.except_rooms, emit.skip, emit.volatile) == (["a"], ["b", 7], [world.sid], True)


@pytest.mark.parametrize(
    ("body", "packet"),
    [
        ({}, '2["e"]'),
        ({"data": None}, '2["e"]'),
        ({"data": [1, 2]}, '2["e",[1,2]]'),
        ({"args": [1, None]}, '2["e",1,null]'),
        ({"args": []}, '2["e"]'),
        ({"room": None}, '2["e"]'),
        ({"room": 7.0}, '2["e"]'),
    ],
)
async def test_arguments_of_an_event(world: World, body: dict[str, Any], packet: str) -> None:
    assert (await world.post("emit", {"event": "e", **body})).status_code == 200
    assert await world.packets() == [packet]


async def test_an_emit_to_nobody(world: World) -> None:
    assert (await world.post("emit", {"event": "e", "room": []})).status_code == 200
    assert await world.packets() == []


async def test_rooms_and_disconnect(world: World) -> None:
    sid = world.sid
    assert (await world.post("enter_room", {"sid": sid, "room": "a"})).json() == {"result": None}
    gone = sid[:-1] + ("A" if sid[-1] != "A" else "B")
    missing = await world.post("enter_room", {"sid": gone, "room": "a"})
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "not_connected"
    assert (await world.post("leave_room", {"sid": gone, "room": "a"})).status_code == 200
    assert (await world.post("disconnect", {"sid": gone})).status_code == 200
    assert (await world.post("close_room", {"room": "a"})).status_code == 200
    assert (await world.post("disconnect", {"sid": sid, "close": True})).status_code == 200
    kinds = [type(command) for command in await world.commands()]
    assert kinds == [Join, LeaveMany, CloseRoom, Disconnect]


async def test_selections(world: World) -> None:
    await world.let_in("a")
    sid = world.sid
    assert (await world.post("enter_rooms", {"rooms": ["b", 7], "room": ["a", "x"]})).json() == {"result": None}
    assert (await world.post("enter_rooms", {"rooms": "c", "except_room": "a"})).status_code == 200
    assert (await world.post("leave_rooms", {"rooms": 7})).status_code == 200
    assert (await world.post("disconnect_room", {"room": "a", "namespace": "/shop"})).status_code == 200
    assert (await world.post("disconnect_room", {"room": None, "close": True})).status_code == 200
    assert await world.commands() == [
        JoinMany([sid], ["b", 7]), LeaveMany([sid], [7]), DisconnectMany([sid], close=True)
    ]  # fmt: skip


async def test_selections_in_a_batch(world: World) -> None:
    await world.let_in("a")
    commands: list[Any] = [
        {"verb": "enter_rooms", "rooms": "b", "room": "a"},
        {"verb": "enter_rooms", "rooms": world.sid},
        {"verb": "emit", "event": "e", "room": "b"},
        {"verb": "leave_rooms", "rooms": ["a"], "room": "a"},
        {"verb": "disconnect_room", "room": "b"},
    ]
    replies = (await world.post("batch", {"commands": commands})).json()["result"]
    assert [reply.get("error", {}).get("field") for reply in replies] == [None, "rooms", None, None, None]
    assert [type(command) for command in await world.commands()] == [JoinMany, Emit, LeaveMany, DisconnectMany]


async def test_an_older_node_is_asked_for_nothing_new(world: World) -> None:
    await world.bus.registry.register_io_node("io2-aaaaaa", {"level": str(SERVER_LEVEL - 1)})
    requests: list[tuple[str, Any]] = [
        ("emit", {"event": "e", "except_room": "a"}), ("enter_rooms", {"rooms": "b"}),
        ("leave_rooms", {"rooms": "b"}), ("disconnect_room", {"room": "b"}),
    ]  # fmt: skip
    for verb, body in requests:
        refused = await world.post(verb, body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "nodes_too_old")
    assert await world.commands() == []


async def test_a_batch_keeps_its_order_and_has_one_reply_for_each(world: World) -> None:
    sid = world.sid
    gone = sid[:-1] + ("A" if sid[-1] != "A" else "B")
    commands = [
        {"verb": "emit", "event": "one", "room": sid},
        {"verb": "enter_room", "sid": sid, "room": "a"},
        {"verb": "enter_room", "sid": gone, "room": "a"},
        {"verb": "emit", "event": "two", "room": "a"},
        *[{"verb": "emit", "event": "many", "data": number} for number in range(100)],
    ]
    done = await world.post("batch", {"commands": commands})
    assert done.status_code == 200
    replies = done.json()["result"]
    assert [reply.get("error", {}).get("code") for reply in replies[:4]] == [None, None, "not_connected", None]
    assert len(replies) == len(commands)
    said = [type(command) for command in await world.commands()]
    assert said[:3] == [Emit, Join, Emit]
    assert await world.packets() == ['2["one"]', '2["two"]', *[f'2["many",{number}]' for number in range(100)]]


async def test_a_call_brings_the_clients_answer(world: World) -> None:
    asking = asyncio.create_task(world.post("call", {"event": "vote", "sid": world.sid, "timeout": 5}))
    while not await world.packets():
        await asyncio.sleep(0.01)
    [question] = [command for command in await world.commands() if isinstance(command, Emit)]
    assert question.ack is not None
    answer = AckReceived(world.sid, question.ack.ack_id, b'[{"yes":"\\ud800"}]')
    node = world.sio.node.id
    entry = encode_app_inbox(world.io_node, 1, [answer])
    await world.bus.appender.append([Append(world.bus.keys.inbox(node), world.io_node, 1, entry, 1_000_000)])
    done = await asking
    assert (done.status_code, done.json()) == (200, {"result": {"yes": "\ud800"}})


async def test_a_call_that_nobody_answers(world: World) -> None:
    late = await world.post("call", {"event": "vote", "sid": world.sid, "timeout": 0.05})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "no_answer")
    elsewhere = "io9-aaaaaa.AAAAAAAAAAAAAAAA"
    gone = await world.post("call", {"event": "vote", "sid": elsewhere, "timeout": 0.05})
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_connected")


async def test_info(world: World) -> None:
    found = await world.http.get("/api/info", headers={"Authorization": f"apikey {WATCH}"})
    assert found.status_code == 200
    nodes = found.json()["result"]["nodes"]
    assert [(node["id"], node["kind"], node["state"]) for node in nodes] == [(world.io_node, "io-node", "alive")]


# --- who may


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "nobody"},
        {"X-API-Key": ""},
        {"X-API-Key": ADMIN[:-1]},
        {"Authorization": ADMIN},
        {"Authorization": f"Basic {base64.b64encode(f'x:{ADMIN}'.encode()).decode()}"},
    ],
)
async def test_without_a_key_nothing_is_read(world: World, headers: dict[str, str]) -> None:
    for path in ("emit", "nosuchpath"):
        refused = await world.http.post(f"/api/{path}?api_key={ADMIN}", headers=headers, content=b"{")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"] == {
            "code": "unauthenticated", "message": "no valid key in X-API-Key, nor in Authorization", "field": None
        }  # fmt: skip


async def test_where_the_key_may_stand(world: World) -> None:
    for headers in ({"X-API-Key": ADMIN}, {"Authorization": f"apikey {ADMIN}"}, {"Authorization": f"Bearer {ADMIN}"}):
        done = await world.http.post("/api/emit", headers=headers, json={"event": "e"})
        assert done.status_code == 200


async def test_scopes(world: World) -> None:
    fine = {"event": "e", "namespace": "/shop"}
    assert (await world.post("emit", fine, SHOP)).status_code == 200
    for verb, body, field in [
        ("emit", {"event": "e"}, "namespace"),
        ("disconnect", {"sid": world.sid, "namespace": "/shop"}, None),
        ("batch", {"commands": [{"verb": "emit", **fine}, {"verb": "emit", "event": "e"}]}, "commands[1].namespace"),
        ("batch", {"commands": [{"verb": "close_room", "room": "a", "namespace": "/shop"}]}, "commands[0].verb"),
    ]:
        refused = await world.post(verb, body, SHOP)
        assert refused.status_code == 403
        assert (refused.json()["error"]["code"], refused.json()["error"]["field"]) == ("forbidden", field)
    assert (await world.http.get("/api/info", headers={"X-API-Key": SHOP})).status_code == 403
    assert await world.packets() == ['2/shop,["e"]']


async def test_a_key_for_some_namespaces_closes_no_whole_connection(world: World) -> None:
    """It would end the clients that it has in other namespaces, too."""
    disconnect, room = {"sid": world.sid, "namespace": "/shop"}, {"room": "a", "namespace": "/shop"}
    bodies: list[tuple[str, dict[str, Any], str]] = [
        ("disconnect", {**disconnect, "close": True}, "close"),
        ("disconnect_room", {**room, "close": True}, "close"),
        ("batch", {"commands": [{"verb": "disconnect_room", **room, "close": True}]}, "commands[0].close"),
    ]
    for verb, body, field in bodies:
        refused = await world.post(verb, body, COUNTER)
        assert refused.status_code == 403
        assert (refused.json()["error"]["code"], refused.json()["error"]["field"]) == ("forbidden", field)
    assert (await world.post("disconnect", disconnect, COUNTER)).status_code == 200
    assert (await world.post("disconnect_room", room, COUNTER)).status_code == 200


# --- what is malformed


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("emit", {}, "event"),
        ("emit", {"event": 7}, "event"),
        ("emit", {"event": "disconnect"}, "event"),
        ("emit", {"event": "e", "romm": "a"}, "romm"),
        ("emit", {"event": "e", "room": True}, "room"),
        ("emit", {"event": "e", "room": {"a": 1}}, "room"),
        ("emit", {"event": "e", "room": ["a", 1.5]}, "room"),
        ("emit", {"event": "e", "room": 1 << 63}, "room"),
        ("emit", {"event": "e", "room": "\ud800"}, "room"),
        ("emit", {"event": "e", "skip_sid": "me"}, "skip_sid"),
        ("emit", {"event": "e", "namespace": "shop"}, "namespace"),
        ("emit", {"event": "e", "namespace": "/a,b"}, "namespace"),
        ("emit", {"event": "e" * 1001}, "event"),
        ("emit", {"event": "e", "data": 1, "args": [2]}, "args"),
        ("batch", {"commands": [{"verb": "emit", "event": "e", "data": 1, "args": [2]}]}, "commands[0].args"),
        ("emit", {"event": "e", "idempotency_key": ""}, "idempotency_key"),
        ("emit", [], None),
        ("emit", b"{", None),
        ("emit", b"", None),
        ("emit", b"[" * 5000, None),
        ("emit", b"\xff", None),
        ("call", {"event": "e", "sid": "me"}, "sid"),
        ("call", {"event": "e", "sid": "io9-aaaaaa.AAAAAAAAAAAAAAAA", "timeout": 0}, "timeout"),
        ("call", {"event": "e", "sid": "io9-aaaaaa.AAAAAAAAAAAAAAAA", "timeout": "1"}, "timeout"),
        ("disconnect", {"sid": None}, "sid"),
        ("enter_room", {"sid": "io9-aaaaaa.AAAAAAAAAAAAAAAA", "room": ["a"]}, "room"),
        ("enter_room", {"sid": "io9-aaaaaa.AAAAAAAAAAAAAAAA", "room": "io9-aaaaaa.BBBBBBBBBBBBBBBB"}, "room"),
        ("emit", {"event": "e", "except_room": 1.5}, "except_room"),
        ("emit", {"event": "e", "volatile": 1}, "volatile"),
        ("enter_rooms", {"room": "a"}, "rooms"),
        ("enter_rooms", {"rooms": None}, "rooms"),
        ("enter_rooms", {"rooms": list(range(101))}, "rooms"),
        ("enter_rooms", {"rooms": ["io9-aaaaaa.BBBBBBBBBBBBBBBB"]}, "rooms"),
        ("leave_rooms", {"rooms": "a", "sid": "io9-aaaaaa.AAAAAAAAAAAAAAAA"}, "sid"),
        ("disconnect_room", {}, "room"),
        ("disconnect_room", {"room": "a", "except_room": [None]}, "except_room"),
        ("close_room", {"room": "io9-aaaaaa.BBBBBBBBBBBBBBBB"}, "room"),
        ("batch", {"commands": []}, "commands"),
        ("batch", {"commands": {}}, "commands"),
        ("batch", {"commands": ["emit"]}, "commands[0]"),
        ("batch", {"commands": [{"event": "e"}]}, "commands[0].verb"),
        ("batch", {"commands": [{"verb": "call", "event": "e"}]}, "commands[0].verb"),
        ("batch", {"commands": [{"verb": "emit", "event": "e"}, {"verb": "emit"}]}, "commands[1].event"),
        ("batch", {"commands": [{"verb": "emit", "event": "e", "room": [[]]}]}, "commands[0].room"),
        ("batch", {"commands": [{"verb": "emit", "event": "e", "args": {"emit": 1}}]}, "commands[0].args"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_bad_input_is_400_with_the_fields_name(
    lasting_world: World, verb: str, body: Any, field: str | None
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    refused = await lasting_world.post(verb, content)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["field"]) == (400, "malformed", field)
    assert field is None or error["message"].startswith(field)
    assert await lasting_world.commands() == []


async def test_another_content_type(world: World) -> None:
    refused = await world.post("emit", b'{"event":"e"}', **{"Content-Type": "text/plain"})
    assert refused.status_code == 400
    assert "Content-Type: application/json" in refused.json()["error"]["message"]


async def test_what_is_nested_too_deeply_is_the_datas_fault(world: World) -> None:
    refused = await world.post("emit", b'{"event":"e","data":%s}' % (b"[" * 900 + b"]" * 900))
    assert refused.status_code in (200, 400)
    if refused.status_code == 400:
        assert refused.json()["error"]["code"] == "malformed"


async def test_a_body_that_is_too_large(world: World) -> None:
    async def in_parts() -> Any:
        for _ in range(30):
            yield b" " * 1000

    for content in (b" " * 20_001, in_parts()):
        refused = await world.http.post("/api/emit", headers={"X-API-Key": ADMIN}, content=content)
        assert refused.status_code == 413
        assert refused.json()["error"]["code"] == "too_large"


async def test_paths_and_methods_that_are_not_there(world: World) -> None:
    headers = {"X-API-Key": ADMIN}
    missing = await world.http.get("/api/nothing", headers=headers)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    wrong = await world.http.get("/api/emit", headers=headers)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


async def test_health_metrics_and_description_need_no_key(world: World) -> None:
    await world.post("emit", {"event": "e"})
    await world.post("emit", {"event": "e"}, "wrong")
    assert (await world.http.get("/healthz")).status_code == 200
    async with asyncio.timeout(10):
        while (await world.http.get("/readyz")).status_code != 200:  # a canary
            await asyncio.sleep(0.02)
        while "\nsio_app_loop_lag_seconds_count 0.0\n" in (await world.http.get("/metrics")).text:
            await asyncio.sleep(0.05)
    text = (await world.http.get("/metrics")).text
    assert "sio_app_ready 1.0" in text, "it serves no clients, and yet it is well: there is an alert for 0"
    assert 'sio_api_requests_total{status="200",verb="emit"} 1.0' in text
    assert 'sio_api_requests_total{status="401",verb=""} 1.0' in text
    assert "sio_api_commands_total 1.0" in text
    assert "sio_app_commands_written_total 1.0" in text
    description = (await world.http.get("/openapi.json")).json()
    assert set(description["paths"]) == {f"/api/{verb}" for verb in (*VERBS, "batch")}


async def test_a_call_to_a_client_of_another_namespace(world: World) -> None:
    await world.let_in()
    answer = await world.post("call", {"event": "e", "sid": world.sid, "namespace": "/shop", "timeout": 20})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_connected")
    assert await world.commands() == []
