"""The handlers that every target serves: the same code on python-socketio and on the cluster.

`node/server.mjs` and `bare.py` say the same in their own words.
"""

import asyncio
import time
from typing import Any

PADDING = "x" * 64


def register(sio: Any) -> None:
    """Puts the benchmark's handlers on an AsyncServer, ours or python-socketio's."""

    async def join(sid: str, rooms: list[str]) -> bool:
        for room in rooms:
            await sio.enter_room(sid, room)
        return True

    async def echo(sid: str, value: int) -> int:
        return value

    async def say(sid: str, room: str) -> bool:
        """Emits one message to the room."""
        await sio.emit("news", {"ts": time.time(), "i": 0, "pad": PADDING}, room=room)
        return True

    async def blast(sid: str, order: dict[str, Any]) -> bool:
        """Emits `bursts` times `burst` messages to `room`, with a pause of `pause_s` after each burst."""
        sio.start_background_task(_blast, sio, order)
        return True

    async def volley(sid: str, order: dict[str, Any]) -> bool:
        """Emits `burst` messages to `room`."""
        for number in range(order["burst"]):
            await sio.emit("news", {"ts": time.time(), "i": number, "pad": PADDING}, room=order["room"])
        return True

    for handler in (join, echo, say, blast, volley):
        sio.event(handler)


async def _blast(sio: Any, order: dict[str, Any]) -> None:
    number = 0
    for _ in range(order["bursts"]):
        for _ in range(order["burst"]):
            await sio.emit("news", {"ts": time.time(), "i": number, "pad": PADDING}, room=order["room"])
            number += 1
        await asyncio.sleep(order["pause_s"])
