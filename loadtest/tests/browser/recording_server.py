"""A small Socket.IO server that records what its clients send, and misbehaves when they ask it to.

Its events: `echo` (acked with its arguments), `say` (sent back as `said`), `flood n`, `binary`, `kick`
(DISCONNECT), `goodbye` (an orderly end of the transport), `drop` (an abrupt end), `fall_silent` (no more pings),
`garbage` (a message that is no Socket.IO packet). The namespace /refusing refuses every client, /recovering offers
connection state recovery.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

SEPARATOR = "\x1e"
REFUSAL_AFTER_S = 0.2  # an upgrade is done by then, so that each run ends alike


@dataclass
class Request:
    """One request as it came. `packets`: those of a POST's body."""

    kind: str  # GET, POST, WEBSOCKET
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    packets: list[str] = field(default_factory=list)


@dataclass
class Session:
    sid: str
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(10_000))
    socket: web.WebSocketResponse | None = None
    alive: bool = True
    pings: bool = True
    polls: int = 0
    probed: bool = False


class RecordingServer:
    """Records `requests`, the `frames` that clients sent on each WebSocket, and the `packets` of both, in order."""

    def __init__(self, *, ping_interval_ms: int, ping_timeout_ms: int, max_payload: int, compress: bool) -> None:
        self.requests: list[Request] = []
        self.frames: list[list[str]] = []
        self.ended: dict[str, float] = {}  # when the WebSocket of which session ended, by the loop's clock
        self.last_frame_at = 0.0
        self.packets: list[str] = []
        self.url = ""
        self.upgrade_status = 101
        self.probe_after_s = self.noop_after_s = 0.0
        self._opening = {"pingInterval": ping_interval_ms, "pingTimeout": ping_timeout_ms, "maxPayload": max_payload}
        self._compress = compress
        self._sessions: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def run(
        cls,
        *,
        ping_interval_ms: int = 25_000,
        ping_timeout_ms: int = 20_000,
        max_payload: int = 1_000_000,
        compress: bool = False,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> "AsyncIterator[RecordingServer]":
        server = cls(
            ping_interval_ms=ping_interval_ms,
            ping_timeout_ms=ping_timeout_ms,
            max_payload=max_payload,
            compress=compress,
        )
        app = web.Application()
        app.router.add_route("*", "/socket.io/", server._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        assert site._server is not None
        taken = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # a server of sockets
        server.url = f"{'https' if tls else 'http'}://localhost:{taken}"
        try:
            yield server
        finally:
            for task in server._tasks:
                task.cancel()
            for session in server._sessions.values():
                server._end(session)
            await runner.cleanup()

    # requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        sid = request.query.get("sid")
        is_websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        kind = "WEBSOCKET" if is_websocket else request.method
        record = Request(kind, request.path, dict(request.query), dict(request.headers))
        self.requests.append(record)
        if sid is None:
            session = self._open()
            if is_websocket:
                return await self._websocket(request, session, opening=self._opening_packet(session, []))
            return self._answer(self._opening_packet(session, ["websocket"]))
        known = self._sessions.get(sid)
        if known is None or not known.alive:
            return web.json_response({"code": 1, "message": "Session ID unknown"}, status=400)
        if is_websocket:
            if self.upgrade_status != 101:
                return web.Response(status=self.upgrade_status)
            return await self._websocket(request, known, opening=None)
        if request.method == "POST":
            record.packets = (await request.text()).split(SEPARATOR)
            for packet in record.packets:
                await self._receive(known, packet)
            return self._answer("ok")
        return await self._poll(known)

    def _open(self) -> Session:
        session = Session(f"io{1 + len(self._sessions) % 2}-aaaaaa.{len(self._sessions):016d}")
        self._sessions[session.sid] = session
        self._in_background(self._ping(session))
        return session

    def _opening_packet(self, session: Session, upgrades: list[str]) -> str:
        return "0" + json.dumps({"sid": session.sid, "upgrades": upgrades, **self._opening})

    def _answer(self, text: str) -> web.Response:
        response = web.Response(text=text)
        response.set_cookie("io", "kept")
        return response

    async def _poll(self, session: Session) -> web.Response:
        session.polls += 1
        packets = [await session.queue.get()]
        while not session.queue.empty():
            packets.append(session.queue.get_nowait())
        session.polls -= 1
        if packets == [""]:
            return web.json_response({"code": 1, "message": "Session ID unknown"}, status=400)
        return self._answer(SEPARATOR.join(packets))

    async def _websocket(self, request: web.Request, session: Session, opening: str | None) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=self._compress, max_msg_size=0)
        await socket.prepare(request)
        received: list[str] = []
        self.frames.append(received)
        if opening is not None:
            session.socket = socket
            await socket.send_str(opening)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            received.append(message.data)
            self.last_frame_at = asyncio.get_running_loop().time()
            if message.data == "2probe":
                await asyncio.sleep(self.probe_after_s)
                await socket.send_str("3probe")
                self._in_background(self._release_polls(session))
            elif message.data == "5":
                session.socket = socket
                while not session.queue.empty():
                    await self._send(session, session.queue.get_nowait())
            else:
                await self._receive(session, message.data)
        received.append(f"close {socket.close_code}")
        self.ended[session.sid] = asyncio.get_running_loop().time()
        if session.socket is socket:
            session.alive = False
        return socket

    # packets

    async def _receive(self, session: Session, packet: str) -> None:
        self.packets.append(packet)
        if packet == "1":
            session.alive = False
            session.queue.put_nowait("6")
        elif packet.startswith("40"):
            namespace = packet[2:].partition(",")[0]
            if namespace == "/refusing":
                self._in_background(self._refuse(session))
            else:
                pid = ',"pid":"p"' if namespace == "/recovering" else ""
                await self._send(session, f'40{namespace},{{"sid":"s.{session.sid}"{pid}}}')
        elif packet.startswith("42"):
            namespace, _, rest = packet[2:].partition(",")
            number, bracket, content = rest.partition("[")
            name, *args = json.loads(bracket + content)
            await self._event(session, namespace, number, name, args)

    async def _event(self, session: Session, namespace: str, number: str, name: str, args: list[Any]) -> None:
        match name:
            case "echo":
                await self._send(session, f"43{namespace},{number}{json.dumps(args)}")
            case "say":
                await self._send(session, f"42{namespace},{json.dumps(['said', *args])}")
            case "flood":
                for count in range(args[0]):
                    await self._send(session, f"42{namespace},{json.dumps(['flood', count, 'x' * args[1]])}")
            case "binary":
                await self._send(session, f'451-{namespace},["b",{{"_placeholder":true,"num":0}}]')
                await self._send_bytes(session, b"\x00\x01\x02")
            case "kick":
                await self._send(session, f"41{namespace},")
            case "goodbye":
                await self._say_goodbye(session)
            case "drop":
                self._end(session)
            case "fall_silent":
                session.pings = False
            case "garbage":
                await self._send(session, "4{}")

    async def _refuse(self, session: Session) -> None:
        await asyncio.sleep(REFUSAL_AFTER_S)
        await self._send(session, '44/refusing,{"message":"no entry"}')

    async def _send(self, session: Session, packet: str) -> None:
        if session.socket is None:
            session.queue.put_nowait(packet)
        elif not session.socket.closed:
            await session.socket.send_str(packet)

    async def _send_bytes(self, session: Session, content: bytes) -> None:
        if session.socket is None:
            session.queue.put_nowait("bAAEC")
        else:
            await session.socket.send_bytes(content)

    async def _release_polls(self, session: Session) -> None:
        """Answers polls with NOOP until the upgrade is done, as Socket.IO's own server does."""
        await asyncio.sleep(self.noop_after_s)
        while session.alive and session.socket is None:
            if session.polls and session.queue.empty():
                session.queue.put_nowait("6")
            await asyncio.sleep(0.01)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say_goodbye(self, session: Session) -> None:
        session.alive = False
        if session.socket is None:
            session.queue.put_nowait("1")
        else:
            await session.socket.close()

    def _end(self, session: Session) -> None:
        """Ends a session abruptly: cuts a WebSocket off, or answers polls as a restarted server does."""
        session.alive = False
        if session.socket is not None and session.socket._req is not None:
            transport = session.socket._req.transport
            if transport is not None:
                transport.abort()
        elif session.socket is None:
            session.queue.put_nowait("")

    async def _ping(self, session: Session) -> None:
        while session.alive:
            await asyncio.sleep(self._opening["pingInterval"] / 1000)
            if session.alive and session.pings:
                await self._send(session, "2")
