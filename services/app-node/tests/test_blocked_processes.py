"""Real processes whose handler never gives the event loop back, and those that only seem to block."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app_node.blocking import EXIT_BLOCKED
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import Ack
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import start_valkey

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # a process without CPU for a while loses its lease

COMMAND = Path(sys.executable).with_name("app-node")
APP = """
import asyncio, re, sys, time
import app_node

sio = app_node.get_client()

@sio.event
async def trouble(sid, how, is_redelivered):
    if is_redelivered:
        return "spared"
    match how:
        case "loop":
            while True:
                pass
        case "gil":
            re.match("(a+)+b", "a" * 60)
        case "sleep":
            time.sleep(0.6)
        case "exit":
            await asyncio.wait_for(leave(), 5)
        case "exit in the background":
            sio.start_background_task(leave)
    return "done"

@sio.on("connect", namespace="/stuck")
def connect(sid, environ):
    while True:
        pass

async def leave():
    sys.exit(3)

@sio.event
async def hello(sid):
    return "hello"

async def main():
    await sio.start()
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""
SETTINGS = {"lease_ms": 1000, "heartbeat_ms": 200, "node_timeout_ms": 6000, "lanes": 4, "handler_block_ms": 200}


class Node:
    """An app-node of its own, which writes its log into a file."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log

    def lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    async def said(self, event: str, times: int = 1) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while len(self.lines(event)) < times:  # noqa: ASYNC110 - the file tells nobody
                await asyncio.sleep(0.02)
        return self.lines(event)[0]

    async def ended(self, within_s: float) -> int:
        return await asyncio.to_thread(self.process.wait, within_s)


Start = Callable[..., Node]


@pytest.fixture
def config(redis_config: Config) -> Config:
    return Config(REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, **SETTINGS)


@pytest.fixture
def start(config: Config, tmp_path: Path) -> Iterator[Start]:
    app = tmp_path / "app.py"
    app.write_text(APP)
    running: list[Node] = []
    env = os.environ | {name.upper(): str(value) for name, value in SETTINGS.items()}
    env |= {"REDIS_URL": config.redis_url or "", "REDIS_PREFIX": config.redis_prefix, "LOG_FORMAT": "json"}

    def begin(*command: str | Path, **own: str) -> Node:
        log = tmp_path / f"log{len(running)}"
        with log.open("wb") as file:
            process = subprocess.Popen(command or (COMMAND, f"{app}:sio"), env=env | own, stderr=file, cwd=tmp_path)
        running.append(Node(process, log))
        return running[-1]

    yield begin
    for node in running:
        node.process.kill()
        node.process.wait(20)


@pytest.fixture
def io(config: Config, make_stage: Any) -> Any:
    return make_stage(config, RedisBus, None)


async def serves(io: Any, sid: str, ack_id: int, within_s: float = 20) -> None:
    """Until this client's `hello` is answered."""
    await io.event(sid, "hello", ack_id=ack_id)
    answer = b'3%d["hello"]' % ack_id
    async with asyncio.timeout(within_s):
        while not any(isinstance(c, Ack) and c.packet == answer for c in io.commands):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_one_that_loops_is_named_and_ends_and_another_takes_over(start: Start, io: Any) -> None:
    stage, io = io, await io.io_node()
    first = start()
    sids = [await io.connect() for _ in range(4)]
    await io.event(sids[0], "trouble", "loop", ack_id=1)
    told = await first.said("handler_blocks")
    second = start()
    assert (told["event_name"], told["sid"], told["level"]) == ("trouble", sids[0], "error")
    assert 200 <= told["lasted_ms"] < 600
    assert re.search(r'app\.py", line \d+, in trouble\n    while True', told["stack"])
    assert await first.ended(3) == EXIT_BLOCKED
    assert [line["event_name"] for line in first.lines("handler_blocks")] == ["trouble"]
    [last] = first.lines("blocked_process_ends")
    assert last["status"] == EXIT_BLOCKED
    await second.said("app_node_started")
    for number, sid in enumerate(sids):
        await serves(io, sid, 10 + number, SETTINGS["lease_ms"] / 1000 + 1)
    await io.settle()
    assert b'31["spared"]' in [c.packet for c in io.commands if isinstance(c, Ack)]
    await stage.stop()


async def test_one_whose_connect_loops_is_named(start: Start, io: Any) -> None:
    stage, io = io, await io.io_node()
    first = start()
    await first.said("app_node_started")
    sid = await io.ask("/stuck")
    told = await first.said("handler_blocks")
    assert (told["event_name"], told["sid"]) == ("connect", sid)
    assert await first.ended(3) == EXIT_BLOCKED
    await stage.stop()


async def test_one_that_holds_the_gil_is_ended_by_a_timer(start: Start, io: Any) -> None:
    """No Python thread can run: the stack comes from the operating system's signal."""
    stage, io = io, await io.io_node()
    first = start()
    sid = await io.connect()
    await io.event(sid, "trouble", "gil", ack_id=1)
    assert await first.ended(30) == -signal.SIGVTALRM
    assert re.search(r'app\.py", line \d+ in trouble', first.log.read_text())
    await start().said("app_node_started")
    await serves(io, sid, 2)
    await stage.stop()


async def test_one_that_blocks_for_a_moment_goes_on(start: Start, io: Any) -> None:
    stage, io = io, await io.io_node()
    first = start()
    sid = await io.connect()
    await io.event(sid, "trouble", "sleep", ack_id=1)
    ended = await first.said("handler_block_ended")
    assert ended["event_name"] == "trouble"
    assert 400 <= ended["lasted_ms"] < 1000
    await io.wait(1, Ack)
    await serves(io, sid, 2)
    assert first.process.poll() is None
    await stage.stop()


@pytest.mark.parametrize("pauses", [1, 3])
async def test_one_that_was_paused_does_not_end(start: Start, io: Any, pauses: int) -> None:
    """The process stood still as a whole, for longer than its leases last."""
    stage, io = io, await io.io_node()
    first = start()
    sid = await io.connect()
    for _ in range(pauses):
        first.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2.5)
        first.process.send_signal(signal.SIGCONT)
        await first.said("lane_lost")
    await serves(io, sid, 1)
    assert first.process.poll() is None
    assert first.lines("handler_blocks") == []
    await stage.stop()


async def test_one_whose_redis_is_away_does_not_end(start: Start) -> None:
    """Its event loop turns all the time."""
    with start_valkey() as server:
        node = start(REDIS_URL=server.url)
        await node.said("app_node_started")
        server.pause()
        await node.said("lane_lost")
        await asyncio.sleep(2 * SETTINGS["lease_ms"] / 1000)
        server.resume()
        await node.said("lanes_acquired", 2)
        assert node.process.poll() is None
        assert node.lines("handler_blocks") == []


async def test_a_program_that_is_not_ours_is_told_and_goes_on(start: Start, io: Any, tmp_path: Path) -> None:
    """It has called `start` itself. What else runs in it, and who starts it anew, nobody here knows."""
    stage, io = io, await io.io_node()
    program = start(sys.executable, tmp_path / "app.py")
    sid = await io.connect()
    await io.event(sid, "trouble", "loop")
    text = ""
    async with asyncio.timeout(10):
        while "handler_blocks" not in text:
            await asyncio.sleep(0.02)
            text = program.log.read_text()
    await asyncio.sleep(1.5 * SETTINGS["lease_ms"] / 1000)
    assert program.process.poll() is None
    await stage.stop()


@pytest.mark.parametrize("how", ["exit", "exit in the background"])
async def test_an_exit_in_another_task_does_not_end_it(start: Start, io: Any, how: str) -> None:
    stage, io = io, await io.io_node()
    first = start()
    sid = await io.connect()
    await io.event(sid, "trouble", how)
    ignored = await first.said("exit_ignored")
    assert ignored["status"] == 3
    await serves(io, sid, 1)
    await io.settle()
    assert first.process.poll() is None
    first.process.terminate()
    assert await first.ended(10) == 0
    await stage.stop()
