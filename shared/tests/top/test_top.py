"""`sio-cluster top` and what it reads, on a real Valkey."""

import asyncio
import concurrent.futures
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sio_cluster.cli import cli
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError
from sio_cluster.streams.api.appends import Append
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.largest_rooms import LargestRooms, RoomView
from sio_cluster.top.rows import view_of
from sio_cluster.top.snapshot import read
from sio_cluster.top.watching import Wish, watch

APP, IO = "app1-aaaaaa", "io1-aaaaaa"
LANES = 16
WISH = Wish("/", 16, 0.05)


@pytest.fixture
async def bus(redis_config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisBus]:
    """A cluster of two nodes. Lane 3 has a holder, and an entry that waits."""
    monkeypatch.setenv("REDIS_URL", redis_config.redis_address)
    monkeypatch.setenv("REDIS_PREFIX", redis_config.redis_prefix)
    bus = RedisBus(redis_config)
    await bus.start()
    await bus.registry.register_io_node(IO, {"level": "3"})
    await bus.registry.register_app_node(APP, {"level": "3"})
    for node in (IO, APP):
        await bus.registry.heartbeat(node, 60_000)
    assert await bus.leases.acquire(3, APP, 60_000)
    await append(bus, 1)
    yield bus
    await bus.stop()


async def append(bus: RedisBus, seq: int) -> None:
    await bus.appender.append([Append(bus.keys.uplink(3), IO, seq, b"12345", 10_000)])


async def size(bus: RedisBus, lane: int, **rooms: int) -> None:
    fields = [word for room, clients in rooms.items() for word in (f'"{room}"', clients)]
    await bus.connections.run(("HSET", bus.keys.counts(lane, "/"), *fields))


async def test_two_looks_have_rates(bus: RedisBus) -> None:
    before = await read(bus, "/", 16)
    await append(bus, 2)
    now = await read(bus, "/", 16)
    view = view_of(before, now)
    assert [(node.id, node.state) for node in view.nodes] == [(IO, "alive"), (APP, "alive")]
    assert all(node.alive_s is not None and node.alive_s < 60 for node in view.nodes)
    lane = view.lanes[3]
    assert (lane.holder, lane.entries, lane.bytes, lane.unread) == (APP, 2, 10, 2)
    assert lane.entries_per_s == 1 / (now.time_s - before.time_s)
    assert (view.nodes[1].lanes_per_s, view.entries_per_s) == (lane.entries_per_s, lane.entries_per_s)


async def test_the_largest_rooms_of_all_lanes(bus: RedisBus) -> None:
    await size(bus, 0, lobby=5, small=1, middle=4)
    await size(bus, 7, lobby=5, middle=1)
    await bus.connections.run(("ZADD", bus.keys.here(0, "/"), 0, "a", 0, "b"))
    largest = LargestRooms(bus.connections, bus.keys)
    found = await largest.of("/", LANES, 2)
    assert found is not None
    assert (found.connected, found.is_complete) == (2, True)
    assert found.rooms == [RoomView("lobby", 10), RoomView("middle", 5)]
    other = await largest.of("/other", LANES, 2)
    assert other is not None
    assert (other.connected, other.rooms) == (0, [])
    await bus.connections.run(("HDEL", bus.keys.config, "index"))
    assert await largest.of("/", LANES, 2) is None


async def test_of_very_many_rooms_only_some_are_looked_at(bus: RedisBus) -> None:
    """Those that are found have their right sizes."""
    for lane in (0, 1):
        await size(bus, lane, **{f"room{number}": 1 for number in range(3_000)})
    found = await LargestRooms(bus.connections, bus.keys, scan_limit=1_600).of("/", LANES, 20)
    assert found is not None
    assert not found.is_complete
    assert [room.clients for room in found.rooms] == [2] * 20


async def test_frames_follow_each_other_also_while_there_is_no_cluster(bus: RedisBus) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, height=60, _environ={"TERM": "xterm"})
    watching = asyncio.create_task(watch(bus, WISH, console))
    await until(lambda: out.getvalue().count("Socket.IO Cluster") > 2)
    [lanes] = await bus.connections.run(("HGET", bus.keys.config, "lanes"))
    await bus.connections.run(("HDEL", bus.keys.config, "lanes"))
    await until(lambda: "Trying again" in out.getvalue())
    await bus.connections.run(("HSET", bus.keys.config, "lanes", lanes))
    told = out.getvalue().rindex("Trying again")
    await until(lambda: "Socket.IO Cluster" in out.getvalue()[told:])
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert out.getvalue().rstrip().endswith("\x1b[?25h\x1b[?1049l")  # the cursor is back, and what was there before


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # the console tells nobody
            await asyncio.sleep(0.01)


async def test_a_first_look_that_fails_is_told(redis_config: Config) -> None:
    bus = RedisBus(redis_config)
    with pytest.raises(ConfigError, match="no cluster"):
        await watch(bus, WISH, Console(file=io.StringIO(), force_terminal=True))
    await bus.stop()


def run(*arguments: str, status: int = 0) -> str:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # the command has an event loop of its own
        done = pool.submit(CliRunner().invoke, cli, ["top", "--interval", "0.1", *arguments]).result()
    assert done.exit_code == status, done.output
    return done.output


async def test_the_command(bus: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
    await size(bus, 0, lobby=5, small=1)
    snapshot = json.loads(run("--json", "--rows", "1"))
    assert snapshot["entries_per_s"] == 0  # it has looked twice
    assert [node["id"] for node in snapshot["nodes"]] == [IO, APP]
    assert len(snapshot["lanes"]) == LANES
    assert snapshot["rooms"] == {
        "namespace": "/", "connected": 0, "rooms": [{"room": "lobby", "clients": 5}], "is_complete": True
    }  # fmt: skip
    for arguments in (["--once"], []):  # without a terminal, both are one frame
        assert "lobby" in run(*arguments)
    assert json.loads(run("--json", "--namespace", "/shop"))["rooms"]["rooms"] == []
    monkeypatch.setenv("REDIS_PREFIX", f"{bus.keys.prefix}x")
    assert "there is no cluster" in run("--once", status=2)


async def test_bytes_that_are_no_text_are_one_line_too(bus: RedisBus) -> None:
    assert "an argument is not UTF-8" in run("--once", "--namespace", "/\udcff", status=2)


def test_a_namespace_without_its_slash_is_refused() -> None:
    """It would show an empty table: no client can be in it."""
    done = CliRunner().invoke(cli, ["top", "--once", "--namespace", "chat"])
    assert done.exit_code == 2
    assert "a namespace begins with a slash: /chat" in done.stderr
