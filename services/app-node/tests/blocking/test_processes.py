"""Real processes whose handler never gives the event loop back, or wants to end them."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app_node import get_client
from app_node.blocking import EXIT_BLOCKED
from app_node.interface.server import ClusterServer
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import Accept, Ack
from sio_cluster.streams.redis.dead_letters import DeadLetters
from sio_cluster.testing.patience import PROCESS_S

from .processes import COMMAND, SETTINGS, Node, Start, serves

pytestmark = [pytest.mark.forked("app-node"), pytest.mark.slow, pytest.mark.timeout(240)]


async def test_one_whose_connect_loops_is_named(start: Start, io: Any) -> None:
    stage, io = io, await io.io_node()
    first = start()
    await first.said("app_node_started")
    sid = await io.ask("/stuck")
    told = await first.said("handler_blocks")
    assert (told["event_name"], told["sid"]) == ("connect", sid)
    assert await first.ended() == EXIT_BLOCKED
    await stage.stop()


async def test_one_that_holds_the_gil_is_ended_by_a_timer(start: Start, io: Any) -> None:
    """No Python thread can run: the stack comes from the operating system's signal."""
    stage, io = io, await io.io_node()
    first = start()
    await first.said("app_node_started")
    sid = await io.connect()
    await io.event(sid, "trouble", "gil", ack_id=1)
    assert await first.ended() == -signal.SIGVTALRM
    assert re.search(r'app\.py", line \d+ in trouble', first.log.read_text())
    await start().said("app_node_started")
    await serves(io, sid, 2)
    await stage.stop()


@pytest.fixture
async def spare(start: Start, redis_config: Config) -> AsyncIterator[tuple[ClusterServer, str, list[Node]]]:
    """Somebody who asks app-nodes, and two of them for one lane. The id of the one that does not hold it."""
    nodes = [start(LANES="1"), start(LANES="1")]
    for node in nodes:
        await node.said("app_node_started")
    asker = get_client(Config(REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, LANES=1))
    async with asyncio.timeout(PROCESS_S):
        while sorted((held := await asker.call_server("held", timeout=5)).values()) != [0, 1]:
            pass
    without = next(node for node, lanes in held.items() if not lanes)
    yield asker, without, sorted(nodes, key=lambda node: node.lines("app_node_started")[0]["node"] != without)
    await asker.shutdown()


async def test_one_without_lanes_ends_too(spare: tuple[ClusterServer, str, list[Node]]) -> None:
    """It could take none, and whoever asks it would wait in vain."""
    asker, without, [idle, holder] = spare
    await asker.emit_server("block", without, "now")
    assert (await idle.said("handler_blocks"))["event_name"] == "block"
    assert await idle.ended() == EXIT_BLOCKED
    assert holder.process.poll() is None
    async with asyncio.timeout(PROCESS_S):
        while len(await asker.call_server("held", timeout=5)) != 1:
            pass
    assert (await asker.call_server("held", timeout=PROCESS_S)).missing == {}


async def test_one_without_lanes_that_stops_may_take_its_time(spare: tuple[ClusterServer, str, list[Node]]) -> None:
    asker, without, [idle, _] = spare
    await asker.emit_server("block", without, "stopping")
    await asker.call_server("held", timeout=5)  # it has begun: events of one sender begin in their order
    idle.process.terminate()
    await idle.said("handler_blocks")
    assert await idle.ended() == 0


async def test_a_program_that_is_not_ours_is_told_and_goes_on(start: Start, io: Any, tmp_path: Path) -> None:
    """It has called `start` itself. What else runs in it, and who starts it anew, nobody here knows."""
    stage, io = io, await io.io_node()
    program = start(sys.executable, tmp_path / "app.py")
    sid = await io.ask()
    await io.wait(1, Accept, PROCESS_S)
    await io.event(sid, "trouble", "loop")
    text = ""
    async with asyncio.timeout(PROCESS_S):
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
    await first.said("app_node_started")
    sid = await io.connect()
    await io.event(sid, "trouble", how)
    ignored = await first.said("exit_ignored")
    assert ignored["status"] == 3
    await serves(io, sid, 1)
    await io.settle()
    assert first.process.poll() is None
    first.process.terminate()
    assert await first.ended() == 0
    await stage.stop()


async def test_a_handler_that_raises_keyboard_interrupt_ends_one_process(start: Start, io: Any) -> None:
    """Its event has ended. Else each app-node that began it again would stop as well."""
    stage, io = io, await io.io_node()
    first = start()
    await first.said("app_node_started")
    sid = await io.connect()
    await io.event(sid, "trouble", "interrupt", ack_id=1)
    assert await first.ended() == 130  # as after Ctrl-C
    assert not first.lines("lane_handlers_late")  # it has not waited for a handler
    [failed] = first.lines("handler_failed")
    assert failed["event_name"] == "trouble"
    second = start()
    await serves(io, sid, 2)
    await io.settle()
    assert second.process.poll() is None
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b'32["hello"]']
    await stage.stop()


CRASHING_DECODER = """
import json, os
import app_node

class Json:
    dumps = json.dumps

    @staticmethod
    def loads(text):
        if "crash" in text:
            os._exit(9)
        return json.loads(text)

sio = app_node.get_client(json=Json)

@sio.event
async def hello(sid, *args):
    return "hello"
"""


async def test_an_event_that_cannot_be_decoded_without_a_crash_is_set_aside(
    start: Start, io: Any, tmp_path: Path
) -> None:
    """The application may bring a JSON module in C. It must not be asked for what has become a dead letter."""
    stage, io = io, await io.io_node()
    app = tmp_path / "crashing.py"
    app.write_text(CRASHING_DECODER)
    node = start(COMMAND, f"{app}:sio")
    sid = await io.connect()
    await io.event(sid, "hello", "crash", ack_id=1)
    await io.event(sid, "hello", ack_id=2)
    for _ in range(3):
        assert await node.ended() == 9
        node = start(COMMAND, f"{app}:sio")
    told = await node.said("fact_set_aside")
    assert (told["event_name"], told["sid"]) == ("hello", sid)
    acks = await io.wait(2, Ack, PROCESS_S)
    assert [ack.packet for ack in acks] == [b"31[]", b'32["hello"]']
    letters = DeadLetters(io.bus.connections, io.bus.keys)
    async with asyncio.timeout(PROCESS_S):
        while not (found := await letters.named(told["lane"], told["id"])):  # Redis tells nobody
            await asyncio.sleep(0.05)
    assert [letter.entry_id for letter in found] == [told["id"]]
    await stage.stop()
