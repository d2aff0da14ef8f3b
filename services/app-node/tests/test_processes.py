"""Real processes: one whose handler blocks its loop, or that is stopped, while another takes its lanes over."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import Ack, Emit
from sio_cluster.streams.redis import RedisBus

# alone: a process without CPU for a while loses its lease
pytestmark = [pytest.mark.forked("app-node"), pytest.mark.slow, pytest.mark.alone]

COMMAND = Path(sys.executable).with_name("app-node")
APP = """
import asyncio, os, signal, time
import app_node

sio = app_node.get_client()
NAME, TROUBLE = os.environ["NODE_NAME"], os.environ["TROUBLE"]
NOTES = os.open(os.environ["NOTES"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)

def note(*what):
    os.write(NOTES, (" ".join(map(str, (NAME, *what))) + "\\n").encode())

@sio.event
async def work(sid, number):
    note("begin", number, sio.is_redelivered())
    if number == 3 and TROUBLE != "none":
        if TROUBLE == "block":
            time.sleep(4)
        elif TROUBLE == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif TROUBLE == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        note("awake")
    await sio.emit("did", [NAME, number], to=sid)
    await sio.enter_room(sid, NAME)
    return NAME
"""
SETTINGS = {
    "lease_ms": 2000,
    "heartbeat_ms": 300,
    "node_timeout_ms": 6000,
    "shutdown_ms": 2000,
    "lanes": 4,
    "handler_block_ms": 0,  # what blocks shall wake up again
}
Start = Callable[[str, str], subprocess.Popen[bytes]]


@pytest.fixture
def config(redis_config: Config) -> Config:
    return Config(REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, **SETTINGS)


@pytest.fixture
def start(config: Config, tmp_path: Path) -> Iterator[Start]:
    app = tmp_path / "app.py"
    app.write_text(APP)
    running: list[subprocess.Popen[bytes]] = []
    env = os.environ | {name.upper(): str(value) for name, value in SETTINGS.items()}
    env |= {"REDIS_URL": config.redis_url or "", "REDIS_PREFIX": config.redis_prefix, "NOTES": str(tmp_path / "notes")}

    def begin(name: str, trouble: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([COMMAND, f"{app}:sio"], env=env | {"NODE_NAME": name, "TROUBLE": trouble})
        running.append(process)
        return process

    yield begin
    for process in running:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    for process in running:
        process.wait(20)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def noted(path: Path, line: str) -> None:
    async with asyncio.timeout(20):
        while not any(found.startswith(line) for found in lines_of(path)):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("trouble", ["block", "stop", "die"])
async def test_another_takes_over(trouble: str, config: Config, start: Start, make_stage: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    stage = make_stage(config, RedisBus, None)
    io = await stage.io_node()
    first = start("first", trouble)
    sids = [await io.connect() for _ in range(3)]
    for number in range(6):
        await io.send(*[stage.event(sid, "work", number, ack_id=number) for sid in sids])
    await noted(notes, "first begin 3")
    start("second", "none")
    acks = await io.wait(3 * 6, Ack, 20)
    if trouble != "die":
        first.send_signal(signal.SIGCONT)
        await noted(notes, "first awake")
    await io.event(sids[0], "work", 99, ack_id=99)  # what the first still had on its way comes before the answer
    await io.wait(len(acks) + 1, Ack, 20)
    await io.settle()
    for sid in sids:
        acked = [c.packet for c in io.commands if isinstance(c, Ack) and c.sid == sid]
        said = [c.packet for c in io.commands if isinstance(c, Emit) and c.to == [sid] and b",99]" not in c.packet]
        answers = [int(packet[1:2]) for packet in acked if not packet.startswith(b"399")]
        for numbers in (
            answers,
            [int(packet[-3:-2]) for packet in said],
        ):  # those before were handled, and perhaps not committed
            assert list(dict.fromkeys(numbers)) == list(range(6))
            assert [number for number in numbers if number >= 3] == [3, 4, 5]
    lines = [line for line in lines_of(notes) if " 99 " not in line]
    if trouble != "die":
        assert not [line for line in lines[lines.index("first awake") :] if line.startswith("first begin")]
    assert lines.count("second begin 3 True") == 3
    assert not [line for line in lines if line.startswith("first begin") and line.endswith("True")]
    await stage.stop()
