"""App-nodes as processes of their own, which write their logs into files, and the application that they run."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sio_cluster.protocol.messages import Ack
from sio_cluster.testing.patience import PROCESS_S

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
        case "interrupt":
            raise KeyboardInterrupt
        case "exit":
            await asyncio.gather(leave())
        case "exit in the background":
            sio.start_background_task(leave)
    return "done"

@sio.on("connect", namespace="/stuck")
def connect(sid, environ):
    while True:
        pass

async def leave():
    sys.exit(3)

@sio.on_server("held")
def held(sender):
    return len(sio.node.keeper.held)

@sio.on_server("block")
async def block(sender, node, when):
    while sio.node.id == node and when == "stopping" and not sio.node.stopping:
        await asyncio.sleep(0.01)
    if sio.node.id == node:
        time.sleep(4 if when == "stopping" else 3600)

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
        async with asyncio.timeout(PROCESS_S):
            while len(self.lines(event)) < times:  # the file tells nobody
                await asyncio.sleep(0.02)
        return self.lines(event)[0]

    async def ended(self, within_s: float = PROCESS_S) -> int:
        return await asyncio.to_thread(self.process.wait, within_s)


Start = Callable[..., Node]


async def serves(io: Any, sid: str, ack_id: int, within_s: float = PROCESS_S) -> None:
    """Until this client's `hello` is answered."""
    await io.event(sid, "hello", ack_id=ack_id)
    answer = b'3%d["hello"]' % ack_id
    async with asyncio.timeout(within_s):
        while not any(isinstance(c, Ack) and c.packet == answer for c in io.commands):
            await asyncio.sleep(0.01)
