"""The handlers that every target serves: the same code on python-socketio and on the cluster."""

import asyncio
import time
from typing import Any

PADDING = "x" * 64


def register(sio: Any) -> None:
    """Put the benchmark's handlers on an AsyncServer, ours or python-socketio's."""

    @sio.event
    async def join(sid: str) -> bool:
        await sio.enter_room(sid, "bench")
        return True

    @sio.event
    async def echo(sid: str, value: int) -> int:
        return value

    @sio.event
    async def blast(sid: str, order: dict[str, Any]) -> bool:
        """Emit `bursts` times `burst` messages to the room, a pause of `pause_s` after each burst."""
        sio.start_background_task(_blast, sio, order)
        return True


async def _blast(sio: Any, order: dict[str, Any]) -> None:
    number = 0
    for _ in range(order["bursts"]):
        for _ in range(order["burst"]):
            await sio.emit("news", {"ts": time.time(), "i": number, "pad": PADDING}, room="bench")
            number += 1
        await asyncio.sleep(order["pause_s"])
