"""The way in for HTTP long-polling, as an ASGI app.

GET opens a session or polls, POST brings a payload, OPTIONS asks what CORS allows.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from io_node.engineio.connection import EngineConnection
from io_node.engineio.http.admission import Admission
from io_node.engineio.http.cors import Headers
from io_node.engineio.http.request import (
    BAD_REQUEST,
    FORBIDDEN,
    TOO_LARGE,
    TRANSPORT,
    UNKNOWN_SID,
    Refusal,
    Request,
)
from io_node.engineio.polls import Polls
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import PayloadTooLarge

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_OK = 200
"""RFC 9110 section 15.3.1."""
_NO_CONTENT = 204
"""RFC 9110 section 15.3.5. The answer to a CORS preflight."""

_PAYLOAD = b"text/plain; charset=UTF-8"
_PIECE_BYTES = 65_536
"""A payload above this is written piece by piece, each when the client has taken most of the one before."""
_DONE = b"text/html"
"""As in Socket.IO's server: some browsers offer text/plain as a download."""
_JSON = b"application/json"


class PollingEndpoint:
    """The ASGI app for SOCKETIO_PATH.

    As in Socket.IO's server, the session closes when two polls or two POSTs come at once, and when a poll or a POST
    breaks off.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope, scope["raw_path"], scope["query_string"])
        if request.method == "OPTIONS":
            await self._preflight(request, send)
            return
        refusal = self._admission.check(request, upgrade=False)
        if refusal is not None:
            await self._refuse(refusal, request, send)
            return
        sid = request.fields.get("sid")
        if not sid:
            await self._open(request, send)
            return
        connection = self._admission.connections.by_sid.get(sid)
        if connection is None:
            await self._refuse(self._admission.refused(UNKNOWN_SID), request, send)
        elif request.method == "GET":
            await self._poll(connection, scope, request, receive, send)
        elif request.method == "POST":
            await self._post(connection, request, receive, send)
        else:
            await self._refuse(self._admission.refused(BAD_REQUEST), request, send)

    async def _open(self, request: Request, send: Send) -> None:
        connection = self._admission.open(request, "polling")
        if isinstance(connection, Refusal):
            await self._refuse(connection, request, send)
            return
        connection.start(None)
        waiting = connection.polls.poll()
        payload = waiting.result() if waiting is not None else b""  # there at once: the open packet
        await self._respond(_OK, _PAYLOAD, payload, request, send)

    async def _poll(
        self, connection: EngineConnection, scope: Scope, request: Request, receive: Receive, send: Send
    ) -> None:
        polls = connection.polls
        waiting = polls.poll()
        if waiting is None:
            await self._refuse(self._admission.refused(BAD_REQUEST), request, send)
            return
        if not waiting.done() and not await _answered(waiting, receive, connection):
            return
        payload = waiting.result()
        transport: asyncio.Transport | None = scope.get("extensions", {}).get(TRANSPORT)
        if len(payload) > _PIECE_BYTES and transport is not None:
            await self._write_large(payload, connection, polls, transport, request, send)
        elif payload:
            await self._respond(_OK, _PAYLOAD, payload, request, send)
        else:  # the node drains
            await self._refuse(self._admission.refused(UNKNOWN_SID), request, send)

    async def _post(self, connection: EngineConnection, request: Request, receive: Receive, send: Send) -> None:
        """Takes a payload: text, under any content type. Clients of python-engineio before 4.3 say octet-stream."""
        polls = connection.polls
        if not polls.begin_post():
            await self._refuse(self._admission.refused(BAD_REQUEST), request, send)
            return
        try:
            refusal = await self._take(connection, polls, request, receive)
        finally:
            polls.end_post()
        if refusal is not None:
            await self._refuse(self._admission.refused(refusal), request, send)
        else:
            await self._respond(_OK, _DONE, b"ok", request, send)

    async def _take(
        self, connection: EngineConnection, polls: Polls, request: Request, receive: Receive
    ) -> Refusal | None:
        bound = self._admission.config.max_payload_bytes
        try:
            body = await _read(request, receive, polls, bound)
        except PayloadTooLarge:
            return TOO_LARGE
        if body is None:
            connection.fail(reasons.TRANSPORT_ERROR)
            return BAD_REQUEST
        connection.catch_up()
        if connection.closed_reason is not None:
            return UNKNOWN_SID
        if connection.transport != "polling":
            return BAD_REQUEST
        return None if await polls.post(body) else BAD_REQUEST

    async def _preflight(self, request: Request, send: Send) -> None:
        if not self._admission.origins.allows(request.headers, request.scheme):
            await self._refuse(self._admission.refused(FORBIDDEN), request, send)
            return
        headers = self._admission.origins.preflight(request.headers)
        await send({"type": "http.response.start", "status": _NO_CONTENT, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, refusal: Refusal, request: Request, send: Send) -> None:
        cors = refusal is not FORBIDDEN
        await self._respond(refusal.status, _JSON, refusal.body, request, send, cors, closes=refusal.closes)

    async def _write_large(
        self,
        payload: bytes,
        connection: EngineConnection,
        polls: Polls,
        transport: asyncio.Transport,
        request: Request,
        send: Send,
    ) -> None:
        """Answer a poll piece by piece, so that a client which reads slowly is seen to read."""
        response = _LargePayload(len(payload), transport)
        await send(self._head(_OK, _PAYLOAD, len(payload), request))
        if connection.closed_reason is None:
            polls.begin_response(payload, response)
        try:
            for at in range(0, len(payload), _PIECE_BYTES):
                await send({"type": "http.response.body", "body": payload[at : at + _PIECE_BYTES], "more_body": True})
                response.unwritten -= min(_PIECE_BYTES, response.unwritten)
            if transport.is_closing():
                connection.fail(reasons.TRANSPORT_ERROR)
            await send({"type": "http.response.body", "body": b""})
        finally:
            polls.end_response(response)

    async def _respond(
        self,
        status: int,
        content_type: bytes,
        body: bytes,
        request: Request,
        send: Send,
        cors: bool = True,
        closes: bool = False,
    ) -> None:
        head = self._head(status, content_type, len(body), request, cors)
        if closes:
            head["headers"].append((b"connection", b"close"))
        await send(head)
        await send({"type": "http.response.body", "body": body})

    def _head(
        self, status: int, content_type: bytes, length: int, request: Request, cors: bool = True
    ) -> MutableMapping[str, Any]:
        headers: Headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % length),
            (b"cache-control", b"no-store"),
        ]
        if cors and self._admission.origins.allows(request.headers, request.scheme):
            headers += self._admission.origins.headers(request.headers)
        return {"type": "http.response.start", "status": status, "headers": headers}


class _LargePayload:
    """A payload on its way to the client."""

    __slots__ = ("_transport", "unwritten")

    def __init__(self, size: int, transport: asyncio.Transport) -> None:
        self.unwritten = size
        self._transport = transport

    @property
    def backlog(self) -> int:
        """How many bytes of it the kernel has not taken."""
        return self.unwritten + (0 if self._transport.is_closing() else self._transport.get_write_buffer_size())

    def abort(self) -> None:
        """Drop the connection at once. What is still to be written is dropped as well."""
        self._transport.abort()


async def _answered(waiting: "asyncio.Future[bytes]", receive: Receive, connection: EngineConnection) -> bool:
    """Wait for the payload. False: the client has gone, and the session closes."""
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            connection.fail(reasons.TRANSPORT_ERROR)
            return False
        return True
    except asyncio.CancelledError:
        connection.fail(reasons.TRANSPORT_ERROR)
        raise
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(request: Request, receive: Receive, polls: Polls, bound: int) -> bytes | None:
    """The whole body, read only while reading is not paused. None: it broke off. Raises PayloadTooLarge."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > bound:
        raise PayloadTooLarge(f"content-length {length} exceeds {bound}")
    chunks: list[bytes] = []
    size = 0
    while True:
        await polls.readable()
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > bound:
            raise PayloadTooLarge(f"body exceeds {bound}")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
