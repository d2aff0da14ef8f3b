"""`sio-cluster emit`, `call`, `disconnect`, `clients`, `rooms`, `presence`, `nodes` against a real Valkey, and `api`
as a process."""

import asyncio
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from app_node.commands import add_to
from sio_cluster.cli import cli
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import LEVEL, AckReceived, Disconnect, Emit
from sio_cluster.streams.api.presences import Meta
from sio_cluster.streams.api.records import Accepted, Joined
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.patience import PROCESS_S
from sio_cluster.testing.valkey import Valkey
from sio_stack.settings import free_ports

from .conftest import FakeIoNode

COMMAND = Path(sys.executable).with_name("sio-cluster")


@pytest.fixture(scope="module")
def whole() -> typer.Typer:
    add_to(cli)
    return cli


@pytest.fixture
async def io_node(redis_config: Config, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeIoNode]:
    config = redis_config.model_copy(update={"lanes": 4})
    monkeypatch.setenv("REDIS_URL", valkey.url)
    monkeypatch.setenv("REDIS_PREFIX", config.redis_prefix)
    node = FakeIoNode(config, RedisBus, "io1")
    await node.start()
    yield node
    await node.stop()


def start(whole: typer.Typer, *arguments: str) -> "concurrent.futures.Future[Result]":
    """The command has an event loop of its own, so it runs in a thread."""
    return concurrent.futures.ThreadPoolExecutor(1).submit(CliRunner().invoke, whole, arguments)


def run(whole: typer.Typer, *arguments: str, status: int = 0) -> str:
    done = start(whole, *arguments).result()
    assert done.exit_code == status, done.output
    return printed(done.stdout if status == 0 else done.stderr)


def printed(text: str) -> str:
    """Without the logs of this process: the command as a process has none but errors."""
    return "".join(line for line in text.splitlines(keepends=True) if not re.match(r"\[[a-z]+ *\] ", line))


@pytest.mark.parametrize(
    "command", ["emit news", "rooms", "clients", "presence lobby", "call e --sid s", "disconnect s"]
)
def test_a_namespace_without_its_slash_is_refused(whole: typer.Typer, command: str) -> None:
    assert "a namespace begins with a slash: /shop" in run(whole, *command.split(), "--namespace", "shop", status=2)


async def test_emit(io_node: FakeIoNode, whole: typer.Typer) -> None:
    room = ("--room", "a", "--room", "b", "--namespace", "/shop", "--skip-sid", "io1-aaaaaa.AAAAAAAAAAAAAAAA")
    assert run(whole, "emit", "news", '{"n": 1}', *room) == "emitted\n"
    assert json.loads(run(whole, "emit", "news", "--json")) == {"emitted": "news"}
    first, second = await io_node.wait(2, Emit)
    assert (first.packet, first.to, first.skip) == (b'2/shop,["news",{"n":1}]', ["a", "b"], [room[-1]])
    assert (second.packet, second.to) == (b'2["news"]', None)


async def test_emit_with_exceptions(io_node: FakeIoNode, whole: typer.Typer) -> None:
    sid = io_node.connected().sid
    run(whole, "emit", "moved", "--room", "a", "--except-room", "b", "--except-room", sid, "--volatile")
    [emit] = await io_node.wait(1, Emit)
    assert (emit.to, emit.except_rooms, emit.skip, emit.volatile) == (["a"], ["b"], [sid], True)


async def test_rooms_whose_names_are_numbers(io_node: FakeIoNode, whole: typer.Typer) -> None:
    """7 and "7" are two rooms."""
    sid = await let_in(io_node, 7)
    for number, sids in ((("--room-number", "7"), [sid]), (("--room", "7"), [])):
        listed = json.loads(run(whole, "clients", *number, "--json"))
        assert [client["sid"] for client in listed] == sids
    assert "name one room" in run(whole, "clients", "--room", "a", "--room-number", "7", status=2)
    run(whole, "emit", "moved", "--room", "7", "--room-number", "7", "--room-number", "-8")
    [emit] = await io_node.wait(1, Emit)
    assert emit.to == ["7", 7, -8]


async def test_a_binary_answer_is_base64(io_node: FakeIoNode, whole: typer.Typer) -> None:
    sid = io_node.connected().sid
    running = start(whole, "call", "vote", "--sid", sid, "--json")
    [question] = await io_node.wait(1, Emit)
    assert question.ack is not None
    answer = AckReceived(sid, question.ack.ack_id, b'[{"is":{"_placeholder":true,"num":0}}]', [b"\x00\x01"])
    await io_node.to_app_node(question.ack.app_node, answer)
    done = await asyncio.wrap_future(running)
    assert json.loads(printed(done.stdout)) == {"answer": {"is": "AAE="}}


async def test_call(io_node: FakeIoNode, whole: typer.Typer) -> None:
    sid = io_node.connected().sid
    running = start(whole, "call", "vote", '"now?"', "--sid", sid, "--json")
    [question] = await io_node.wait(1, Emit)
    assert question.ack is not None
    await io_node.answer(question.ack.app_node, question.ack.ack_id, sid, "yes")
    done = await asyncio.wrap_future(running)
    assert json.loads(printed(done.stdout)) == {"answer": "yes"}
    assert "has not answered within 0.1 s" in run(whole, "call", "vote", "--sid", sid, "--answer-in", "0.1", status=1)
    elsewhere = "io9-aaaaaa.AAAAAAAAAAAAAAAA"
    assert "is not connected" in run(whole, "call", "vote", "--sid", elsewhere, status=1)


async def test_disconnect(io_node: FakeIoNode, whole: typer.Typer) -> None:
    fact = io_node.connected()
    await io_node.bus.records.store([fact])
    assert json.loads(run(whole, "disconnect", fact.sid, "--close", "--json")) == {"disconnected": fact.sid}
    [command] = await io_node.wait(1, Disconnect)
    assert (command.sid, command.close) == (fact.sid, True)
    assert "is not connected to /" in run(whole, "disconnect", "nobody", status=1)


async def let_in(io_node: FakeIoNode, *rooms: str | int) -> str:
    """A client more, in these rooms: its sid."""
    fact = io_node.connected()
    await io_node.bus.records.store([fact])
    await io_node.bus.records.update([Accepted(fact.sid), *[Joined(fact.sid, "/", room) for room in rooms]])
    return fact.sid


async def test_clients(io_node: FakeIoNode, whole: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(whole, "clients") == "There are no clients.\n"
    sids = [await let_in(io_node, "lobby", "[b]\x1b[2J"), await let_in(io_node, "lobby", 7), await let_in(io_node)]
    listed = json.loads(run(whole, "clients", "--json"))
    assert {client["sid"] for client in listed} == set(sids)
    [second] = [client for client in listed if client["sid"] == sids[1]]
    assert second.pop("connected_at") > 1_700_000_000
    assert (second.pop("rooms")[0], second) == (
        sids[1], {"sid": sids[1], "namespace": "/", "transport": "polling", "io_node": io_node.id}
    )  # fmt: skip
    in_room = json.loads(run(whole, "clients", "--room", "lobby", "--json"))
    assert {client["sid"] for client in in_room} == set(sids[:2])
    assert json.loads(run(whole, "clients", "--namespace", "/shop", "--json")) == []
    shown = run(whole, "clients")
    assert all(sid in shown for sid in sids)
    assert "[b]\\x1b[2J" in shown
    assert run(whole, "clients", "--limit", "2").endswith("\n2 of 3 clients: --limit shows more\n")


async def test_rooms(io_node: FakeIoNode, whole: typer.Typer) -> None:
    assert run(whole, "rooms") == "There are no rooms.\n"
    await let_in(io_node, "game:1", 7)
    await let_in(io_node, "game:1", "lobby")
    assert json.loads(run(whole, "rooms", "--json")) == [
        {"room": "game:1", "clients": 2}, {"room": 7, "clients": 1}, {"room": "lobby", "clients": 1}
    ]  # fmt: skip
    assert json.loads(run(whole, "rooms", "--prefix", "game:", "--json")) == [{"room": "game:1", "clients": 2}]
    assert json.loads(run(whole, "rooms", "--namespace", "/shop", "--json")) == []
    assert "game:1" in run(whole, "rooms")


async def test_presence(io_node: FakeIoNode, whole: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(whole, "presence", "lobby") == "Nobody is present.\n"
    for number, key in enumerate(["grace", "ada", "ada"]):
        shown = Meta("/", "lobby", key, b'{"name":"[b]\xc3\x85 %d"}' % number, f"{number:016}")
        await io_node.bus.presences.show(await let_in(io_node, "lobby"), shown, 1000)
    listed = json.loads(run(whole, "presence", "lobby", "--json"))
    assert sorted(listed) == ["ada", "grace"]
    assert listed["grace"] == {"metas": [{"name": "[b]\u00c5 0", "phx_ref": f"{0:016}"}]}
    assert json.loads(run(whole, "presence", "lobby", "--namespace", "/shop", "--json")) == {}
    cells = [
        [cell.strip() for cell in line.split("\u2502")[1:-1]] for line in run(whole, "presence", "lobby").splitlines()
    ]
    rows = [row for row in cells if row]
    assert [row[:2] for row in rows] == [["ada", "2"], ["", ""], ["grace", "1"]]
    assert sorted(row[2] for row in rows) == [f'{{"name": "[b]\u00c5 {number}"}}' for number in range(3)]
    assert "cannot be present in a sid room" in run(whole, "presence", "io1-aaaaaa.AAAAAAAAAAAAAAAA", status=2)


async def test_a_word_that_is_no_sid_is_asked_nothing(io_node: FakeIoNode, whole: typer.Typer) -> None:
    """It would be a room, and all its members would get the event."""
    assert run(whole, "call", "vote", "--sid", "lobby", status=2) == "sio-cluster: lobby is no sid\n"


TOO_DEEP = [50_000, 900] if sys.version_info < (3, 12) else [50_000]
"""Levels that are too many to be read, and where Python can read more than it writes, too many to be written."""


@pytest.mark.parametrize("levels", TOO_DEEP)
async def test_data_that_are_nested_too_deeply_are_one_line_too(
    io_node: FakeIoNode, whole: typer.Typer, levels: int
) -> None:
    nested = "[" * levels + "]" * levels
    assert run(whole, "emit", "news", nested, status=2) == "sio-cluster: the data are nested too deeply\n"


async def test_in_a_pipe_no_cell_is_cut(io_node: FakeIoNode, whole: typer.Typer) -> None:
    long_id = f"{'a' * 32}-aaaaaa"
    await io_node.bus.registry.register_app_node(long_id, {"level": str(LEVEL)})
    assert f" {long_id} " in run(whole, "nodes")


async def test_an_older_node_is_one_line_too(io_node: FakeIoNode, whole: typer.Typer) -> None:
    """It does not keep the room index."""
    await io_node.bus.registry.register_io_node("io2-aaaaaa", {})
    for words in (["clients"], ["rooms"]):
        [line] = run(whole, *words, status=2).splitlines()
        assert line.startswith("sio-cluster: ")


async def test_nodes(io_node: FakeIoNode, whole: typer.Typer) -> None:
    [node] = json.loads(run(whole, "nodes", "--json"))
    assert node.pop("alive_since") > 1_600_000_000
    assert node == {
        "id": io_node.id, "kind": "io-node", "state": "alive", "level": LEVEL, "clients": 0, "lanes": None,
        "release": None,
    }  # fmt: skip
    assert io_node.id[:6] in run(whole, "nodes")


async def test_what_is_wrong_is_one_line_and_status_2(
    io_node: FakeIoNode, whole: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is no JSON" in run(whole, "emit", "news", "{", status=2)
    assert "reserved event name" in run(whole, "emit", "disconnect", status=2)
    assert "--sid" in run(whole, "call", "news", status=2)
    monkeypatch.setenv("REDIS_PREFIX", "nowhere")
    for words in (["emit", "news"], ["nodes"], ["disconnect", "x"], ["clients"], ["rooms"], ["presence", "x"]):
        assert run(whole, *words, status=2) == "sio-cluster: there is no cluster of this REDIS_PREFIX in this Redis\n"
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    *_, said = run(whole, "emit", "news", status=2).splitlines()  # other tests may have made it log to stderr
    assert said.startswith("sio-cluster: cannot connect to Redis at 127.0.0.1:1")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_api_as_a_process(valkey: Valkey, redis_config: Config, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("me 0123456789abcdef\n")
    (port,) = free_ports(1)
    env = {
        "REDIS_URL": valkey.url,
        "REDIS_PREFIX": redis_config.redis_prefix,
        "API_PORT": str(port),
        "API_KEYS_FILE": str(tmp_path / "keys"),
        "API_TIMEOUT_MS": "60000",
    }
    refused = subprocess.run([COMMAND, "api"], env=os.environ | env | {"API_KEYS_FILE": ""}, capture_output=True,
                             text=True, timeout=PROCESS_S, check=False)  # fmt: skip
    assert refused.returncode == 2
    assert refused.stderr.startswith("sio-cluster: API_KEYS_FILE: must name the file")
    process = subprocess.Popen([COMMAND, "api"], env=os.environ | env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert any("api_started" in line for line in process.stderr)
        while ask(port, "/readyz")[0] != 200:
            assert process.poll() is None
        assert ask(port, "/api/emit", {"event": "e"}, "0123456789abcdef") == (200, {"result": None})
        assert ask(port, "/api/emit", {"event": "e"}, "wrong")[0] == 401
        taken = subprocess.run([COMMAND, "api"], env=os.environ | env, capture_output=True,
                               text=True, timeout=PROCESS_S, check=False)  # fmt: skip
        assert taken.returncode == 2
        assert taken.stderr.splitlines()[-1].startswith("sio-cluster: API_PORT: cannot listen")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PROCESS_S) == 0
    finally:
        process.kill()
        process.communicate()


def ask(port: int, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=PROCESS_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
