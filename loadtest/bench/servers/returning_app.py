"""The application to whose clients an io-node is killed: it emits numbered messages to rooms, steadily."""

import asyncio
import time
from typing import Any

import app_node
from loadtest.bench.servers import handlers
from loadtest.bench.servers.loop_watch import LoopWatch

sio = app_node.get_client()
handlers.register(sio)

TICK_S = 0.01


class Emitter:
    """Emits to each of its rooms in turn. `numbers`: how many messages each room has had."""

    def __init__(self, rooms: int, per_second: float) -> None:
        self.numbers = [0] * rooms
        self.stopped = False
        self.task = asyncio.create_task(self._run(per_second))

    async def _run(self, per_second: float) -> None:
        began, done = time.perf_counter(), 0
        while not self.stopped:
            while not self.stopped and done < (time.perf_counter() - began) * per_second:
                room = done % len(self.numbers)
                await sio.emit("n", self.numbers[room], room=f"room {room}")
                self.numbers[room] += 1
                done += 1
            await asyncio.sleep(TICK_S)


_emitters: list[Emitter] = []
_watches: list[LoopWatch] = []


@sio.event
async def connect(
    sid: str, environ: dict[str, Any], auth: Any, is_reconnect: bool = False, is_recovered: bool = False
) -> None:
    if isinstance(auth, dict) and "room" in auth and not (is_reconnect or is_recovered):
        await sio.enter_room(sid, auth["room"])


@sio.event
async def emit_steadily(sid: str, order: dict[str, Any]) -> bool:
    """Begins to emit `per_second` messages to so many `rooms` in turn."""
    _emitters.append(Emitter(order["rooms"], order["per_second"]))
    return True


@sio.event
async def emit_no_more(sid: str, order: dict[str, Any]) -> list[int]:
    """How many messages each room has had."""
    emitter = _emitters.pop()
    emitter.stopped = True
    await emitter.task
    return emitter.numbers


@sio.event
async def watch_loop(sid: str, order: dict[str, Any]) -> dict[str, float]:
    """What the watch of this event loop has seen since the last call."""
    if not _watches:
        _watches.append(LoopWatch())
    found = _watches[0].read()
    _watches[0].begin()
    return found
