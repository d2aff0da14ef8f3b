"""`sio-cluster dead-letters` against a real Valkey."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from sio_cluster.cli import cli
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import encode_uplink
from sio_cluster.protocol.messages import EventReceived
from sio_cluster.streams.api.appends import Append
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.dead_letters import DeadLetters
from sio_cluster.testing.valkey import Valkey

APP1, IO1 = "app-aaaaaa", "io1-aaaaaa"
BATCH = encode_uplink(IO1, 9, [EventReceived(f"{IO1}.AAAAAAAAAAAAAAAA", 7, b'["a",\x1b]')])
NEWER = b"\x94\x63\xa3abc\x01\x80"  # a batch of version 99
BROKEN = b"\xc1 no batch" + b"\x00" * 600


@pytest.fixture
async def letters(redis_config: Config, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisBus]:
    """Three entries of lane 3, set aside as an app-node does it."""
    monkeypatch.setenv("REDIS_URL", valkey.url)
    monkeypatch.setenv("REDIS_PREFIX", redis_config.redis_prefix)
    bus = RedisBus(redis_config)
    await bus.start()
    reader = bus.lane_reader(APP1)
    lease = await bus.leases.acquire(3, APP1, 60_000)
    assert lease is not None
    await reader.claim(3)
    for seq, entry in enumerate((BATCH, NEWER, BROKEN), 1):
        await bus.appender.append([Append(bus.keys.uplink(3), IO1, seq, entry, 10_000)])
    for given in await reader.read([3], 0, 10):
        await reader.set_aside(lease, given, "why \x1b[31m not")
    yield bus
    await bus.stop()


def run(*arguments: str, status: int = 0) -> str:
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # the command has an event loop of its own
        done = pool.submit(CliRunner().invoke, cli, ["dead-letters", *arguments]).result()
    assert done.exit_code == status, done.output
    return done.output


def ids() -> list[str]:
    return [letter["id"] for letter in json.loads(run("list", "--json"))]


async def test_list_and_show(letters: RedisBus) -> None:
    listed = json.loads(run("list", "--json"))
    assert [(letter["lane"], letter["bytes"]) for letter in listed] == [(3, len(BATCH)), (3, len(NEWER)), (3, 610)]
    table = run("list")
    assert listed[0]["id"] in table
    assert "\x1b[31m" not in table
    assert json.loads(run("list", "--limit", "1", "--json")) == listed[-1:]
    assert json.loads(run("list", "--lane", "4", "--json")) == []
    assert "There are no dead letters" in run("list", "--lane", "4")
    batch, newer, broken = [json.loads(run("show", "3", letter["id"], "--json")) for letter in listed]
    assert batch["batch"][3][0][3] == '["a",\x1b]'
    assert newer["msgpack"] == [99, "abc", 1, {}]
    assert broken["hex"].startswith("c1 20 6e 6f")
    assert broken["more_bytes"] == len(BROKEN) - 512
    assert "c1 20 6e 6f" in run("show", "3", listed[2]["id"])
    assert "has no dead letter" in run("show", "4", listed[0]["id"], status=1)


async def test_the_newest_are_those_of_all_lanes(letters: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
    await letters.connections.run(("XADD", letters.keys.dead(4), "*", "b", b"the newest", "why", "", "id", "1-0"))
    found = DeadLetters(letters.connections, letters.keys)
    assert [letter.entry for letter in await found.newest(range(16), 100)] == [BATCH, NEWER, BROKEN, b"the newest"]
    sent: list[tuple[object, ...]] = []
    run_commands = letters.connections.run

    async def run(*commands: Any) -> Any:
        sent.extend(commands)
        return await run_commands(*commands)

    monkeypatch.setattr(letters.connections, "run", run)
    assert [letter.entry for letter in await found.newest(range(16), 2)] == [BROKEN, b"the newest"]
    assert [command[-2:] for command in sent] == [("COUNT", 2)] * 16  # Redis sends no more of any lane


async def test_requeue_and_delete(letters: RedisBus) -> None:
    first, second, third = ids()
    assert run("requeue", "3", first) == "1 put back\n"
    reader = letters.lane_reader(APP1)
    [entry] = await reader.read([3], 0, 10)
    assert (entry.entry, entry.redelivered) == (BATCH, False)
    keys = letters.keys
    assert await letters.connections.run(("HGET", keys.state(keys.uplink(3)), "bytes")) == [b"%d" % len(BATCH)]
    assert run("requeue", "3", first, status=1) == "0 put back\n"
    assert run("delete", "3", second) == "1 deleted\n"
    assert ids() == [third]
    assert run("delete", "3", "--all") == "1 deleted\n"
    assert ids() == []
    assert "give an id, or --all" in run("delete", "3", status=2)
    assert "give an id, or --all" in run("delete", "3", third, "--all", status=2)


async def test_the_id_in_the_log_names_a_dead_letter_too(letters: RedisBus) -> None:
    """That of the entry in its lane: the log has it before there is a dead letter."""
    first, second, third = [json.loads(run("show", "3", id, "--json")) for id in ids()]
    assert json.loads(run("show", "3", second["entry_id"], "--json")) == second
    assert run("delete", "3", third["entry_id"]) == "1 deleted\n"
    assert run("requeue", "3", first["entry_id"]) == "1 put back\n"
    assert run("requeue", "3", first["entry_id"], status=1) == "0 put back\n"
    assert ids() == [second["id"]]
    assert "has no dead letter" in run("show", "4", second["entry_id"], status=1)


async def test_what_may_have_been_handled_says_so_when_it_is_put_back(letters: RedisBus) -> None:
    """It is a new entry all the same: what was counted before is forgotten."""
    reader, lane = letters.lane_reader(APP1), 5
    lease = await letters.leases.acquire(lane, APP1, 60_000)
    assert lease is not None
    await reader.claim(lane)
    await letters.appender.append([Append(letters.keys.uplink(lane), IO1, 1, BATCH, 10_000)])
    [entry] = await reader.read([lane], 0, 10)
    await reader.set_aside(lease, replace(entry, redelivered=True, takeovers=3), "why")
    assert run("requeue", str(lane), "--all") == "1 put back\n"
    [back] = await reader.read([lane], 0, 10)
    assert (back.entry, back.redelivered, back.takeovers) == (BATCH, True, 0)


async def test_what_is_wrong_is_one_line(letters: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "malformed" in run("show", "3", "x", status=2) or "Invalid stream ID" in run("show", "3", "x", status=2)
    monkeypatch.setenv("REDIS_PREFIX", "nowhere")
    assert "there is no cluster of this REDIS_PREFIX" in run("list", status=2)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert run("list", status=2).splitlines()[-1].startswith("sio-cluster: cannot connect to Redis at 127.0.0.1:1")
