"""The application of the conformance tests.

Its first part is what the Socket.IO v5 protocol test suite asks for: the namespaces / and /custom, an `auth` event
with the CONNECT payload, `message` -> `message-back`, `message-with-ack` -> ack. The rest serves our own tests: rooms,
questions to the client, bursts, slow and refusing namespaces.

    app-node tests/conformance/app.py:sio
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs

from socketio import AsyncNamespace
from socketio.exceptions import ConnectionRefusedError, DisconnectedError, TimeoutError

import app_node

sio = app_node.get_client()

Environ = dict[str, Any]


def serve_suite(namespace: str) -> None:
    """What the protocol test suite asks for."""

    @sio.on("connect", namespace=namespace)
    async def connect(sid: str, environ: Environ, auth: Any, is_recovered: bool = False) -> None:
        if not is_recovered:
            await sio.save_session(sid, {"auth": auth or {}}, namespace=namespace)
        await sio.emit("auth", auth or {}, to=sid, namespace=namespace)

    @sio.on("message", namespace=namespace)
    async def message(sid: str, *args: Any) -> None:
        await sio.emit("message-back", args, to=sid, namespace=namespace)

    @sio.on("message-with-ack", namespace=namespace)
    async def message_with_ack(sid: str, *args: Any) -> tuple[Any, ...]:
        return args


class Desk(AsyncNamespace):  # type: ignore[misc]  # python-socketio has no types
    """What our own tests ask for: one small handler per behaviour. A tuple that is returned acks with its items."""

    async def on_echo(self, sid: str, *args: Any) -> tuple[Any, ...]:
        return args

    async def on_no_answer_value(self, sid: str, *args: Any) -> None:
        return None

    async def on_count(self, sid: str, *args: Any) -> tuple[Any, ...]:
        return (len(args), [type(arg).__name__ for arg in args])

    async def on_wait(self, sid: str, seconds: float, value: Any) -> Any:
        await asyncio.sleep(min(seconds, 5))
        return value

    async def on_fail(self, sid: str, *args: Any) -> None:
        raise RuntimeError("a handler of the test application fails on purpose")

    async def on_who(self, sid: str) -> Environ:
        environ = self.server.get_environ(sid, self.namespace)
        session = await self.get_session(sid)
        return {
            "sid": sid,
            "auth": session["auth"],
            "transport": self.server.transport(sid, self.namespace),
            "query": {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()},
            "headers": {name: value for name, value in environ.items() if name.startswith("HTTP_X_")},
            "path": environ["PATH_INFO"],
            "method": environ["REQUEST_METHOD"],
        }

    async def on_remember(self, sid: str, value: Any) -> None:
        async with self.session(sid) as session:
            session["remembered"] = value

    async def on_recall(self, sid: str) -> Any:
        return (await self.get_session(sid)).get("remembered")

    # questions to the client

    async def on_ask(self, sid: str, *args: Any) -> None:
        async def answered(*answer: Any) -> None:
            await self.emit("answered", (len(answer), list(answer)), to=sid)

        await self.emit("question", args, to=sid, callback=answered)

    async def on_call(self, sid: str, timeout: float, *args: Any) -> tuple[Any, ...]:
        return await self.on_call_other(sid, sid, timeout, *args)

    async def on_call_other(self, sid: str, other: str, timeout: float, *args: Any) -> tuple[Any, ...]:
        try:
            return ("answer", await self.call("question", args, sid=other, timeout=timeout))
        except TimeoutError:
            return ("timeout",)
        except DisconnectedError:
            return ("disconnected",)

    # rooms

    async def on_join(self, sid: str, rooms: list[str]) -> list[str]:
        for room in rooms:
            await self.enter_room(sid, room)
        return sorted(room for room in self.rooms(sid) if room != sid)

    async def on_leave(self, sid: str, rooms: list[str]) -> list[str]:
        for room in rooms:
            await self.leave_room(sid, room)
        return sorted(room for room in self.rooms(sid) if room != sid)

    async def on_close(self, sid: str, room: str) -> None:
        await self.close_room(room)

    async def on_tell(self, sid: str, rooms: list[str], skip: list[str], *args: Any) -> None:
        await self.emit("told", args, room=rooms, skip_sid=skip)

    async def on_tell_except(self, sid: str, rooms: list[str] | None, except_rooms: list[str], *args: Any) -> None:
        await self.server.emit("told", args, room=rooms, except_room=except_rooms, namespace=self.namespace)

    async def on_tell_volatile(self, sid: str, rooms: list[str], *args: Any) -> None:
        await self.server.emit("told", args, room=rooms, volatile=True, namespace=self.namespace)

    async def on_tell_all(self, sid: str, *args: Any) -> None:
        await self.emit("told", args)

    async def on_tell_the_rest(self, sid: str, *args: Any) -> None:
        await self.emit("told", args, skip_sid=sid)

    async def on_burst(self, sid: str, count: int) -> None:
        for number in range(count):
            await self.emit("burst", number, to=sid)

    async def on_numbers(self, sid: str) -> None:
        await self.emit("numbers", [float("nan"), float("inf"), 1 << 60, 1.5], to=sid)

    # the end

    async def on_leave_namespace(self, sid: str) -> None:
        await self.disconnect(sid)

    async def on_hang_up(self, sid: str) -> None:
        await sio.close_connection(sid, namespace=self.namespace)


for suite_namespace in ("/", "/custom"):
    serve_suite(suite_namespace)
    sio.register_namespace(Desk(suite_namespace))


@sio.on("connect", namespace="/slow")
async def connect_slowly(sid: str, environ: Environ, auth: Any) -> None:
    await asyncio.sleep(min((auth or {}).get("delay", 1), 5))


@sio.on("echo", namespace="/slow")
async def echo_slow(sid: str, *args: Any) -> tuple[Any, ...]:
    return args


@sio.on("connect", namespace="/refusing")
async def refuse_with_data(sid: str, environ: Environ, auth: Any) -> None:
    raise ConnectionRefusedError("no entry", {"code": 7})


@sio.on("connect", namespace="/false")
async def refuse_plainly(sid: str, environ: Environ) -> bool:
    return False


@sio.on("*", namespace="/any")
async def catch_all(event: str, sid: str, *args: Any) -> tuple[Any, ...]:
    return (event, *args)
