"""A Socket.IO server that does one thing wrong now and then, and counts it: `GET /faults` has the counts.

    python -m loadtest.tests.scenarios.faulty_server PORT FAULT EVERY

FAULT is none, or what happens to one of EVERY deliveries, emits or connects. To deliveries: lose, double, swap, stray
(a client that is not in the room gets it too), kick (the member is disconnected). To emits: unheard (the event is
lost), unacked (its ack is lost). To connects: swallow. Faults begin a second after the latest join, so that every
delivery that is affected was due.
"""

import asyncio
import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

import socketio
import uvicorn
from engineio.payload import Payload
from fastapi import FastAPI

LOAD_TEST = Path(__file__).parents[3] / "examples/chat/load_test.py"
FAITHFUL_S = 1.0


class NoAck(Exception):
    """Ends a handler so that its event is not acked."""


class Faults:
    """What the handlers take for the server. It turns an emit to a room into one to each member, with faults."""

    def __init__(self, sio: Any, fault: str, every: int) -> None:
        self._sio = sio
        self._fault = fault
        self._every = every
        self._joined_at = 0.0
        self._deliveries = self._emits = self._connects = 0
        self._held: dict[str, Any] = {}  # sid -> a message that will go out after the next one
        self.done = {
            "lost": 0,
            "duplicated": 0,
            "reordered": 0,
            "strayed": 0,
            "kicked": 0,
            "unanswered": 0,
            "swallowed": 0,
        }

    def on(self, event: str, handler: Any, namespace: str) -> None:
        async def publish(*arguments: Any) -> Any:
            self._emits += not self._is_faithful
            wrong = self._fault in ("unheard", "unacked") and not self._is_faithful and self._emits % self._every == 0
            answer = None if wrong and self._fault == "unheard" else await handler(*arguments)
            if wrong:
                self.done["unanswered"] += 1
                raise NoAck
            return answer

        async def connect(*_: Any) -> None:
            self._connects += 1
            if self._fault == "swallow" and self._connects % self._every == 0:
                self.done["swallowed"] += 1
                await asyncio.Event().wait()

        wrapped = {"publish": publish, "connect": connect}.get(event, handler)
        self._sio.on(event, wrapped, namespace=namespace)

    async def enter_room(self, sid: str, room: str, namespace: str) -> None:
        self._joined_at = time.monotonic()
        await self._sio.enter_room(sid, room, namespace=namespace)

    async def leave_room(self, sid: str, room: str, namespace: str) -> None:
        await self._sio.leave_room(sid, room, namespace=namespace)

    async def emit(self, event: str, data: Any, namespace: str, room: str | None = None) -> None:
        members = [sid for sid, _ in self._sio.manager.get_participants(namespace, room)]
        for sid in members:
            before = self.done.copy()
            messages = self._turned(sid, data, self._is_faithful)
            strays, kicks = (self.done[name] > before[name] for name in ("strayed", "kicked"))
            for message in messages:
                await self._sio.emit(event, message, to=sid, namespace=namespace)
            if strays:
                stranger = next(s for s, _ in self._sio.manager.get_participants(namespace, None) if s not in members)
                await self._sio.emit(event, data, to=stranger, namespace=namespace)
            if kicks:
                await self._sio.disconnect(sid, namespace=namespace)

    @property
    def _is_faithful(self) -> bool:
        return time.monotonic() - self._joined_at < FAITHFUL_S

    def told(self) -> dict[str, int]:
        """The faults so far. A message that is still held back counts as lost."""
        return self.done | {"lost": self.done["lost"] + len(self._held)}

    def _turned(self, sid: str, message: Any, faithful: bool) -> list[Any]:
        if sid in self._held:
            self.done["reordered"] += 1
            return [message, self._held.pop(sid)]
        if faithful:
            return [message]
        self._deliveries += 1
        if self._deliveries % self._every:
            return [message]
        match self._fault:
            case "lose":
                self.done["lost"] += 1
                return []
            case "double":
                self.done["duplicated"] += 1
                return [message, message]
            case "stray":
                self.done["strayed"] += 1
                return [message]
            case "kick":
                self.done["kicked"] += 1
                return [message]
            case "swap":
                self._held[sid] = message
                return []
            case _:
                return [message]


def main(port: int, fault: str, every: int) -> None:
    spec = importlib.util.spec_from_file_location("load_test", LOAD_TEST)
    assert spec is not None
    assert spec.loader is not None
    load_test = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(load_test)
    Payload.max_decode_packets = 1000  # it refuses more than 16, which gather where a client waits on a busy machine
    sio = socketio.AsyncServer(async_mode="asgi", async_handlers=False, cors_allowed_origins="*")
    faults = Faults(sio, fault, every)
    load_test.register(faults)
    web = FastAPI()
    web.get("/faults")(faults.told)
    uvicorn.run(socketio.ASGIApp(sio, other_asgi_app=web), port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
