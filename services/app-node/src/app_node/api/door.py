"""What comes before any request is read: who sends it, and how long it may be. An ASGI middleware."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from app_node.api.keys import KeyFile
from app_node.api.problems import Problem

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

GUARDED = "/api/"
"""What begins with this needs a key. The rest is what every node answers about itself, and the API's description."""


class Door:
    """Lets a request in with its `api_key` and the digest of its body, `asked`, in its state.

    A body is read only for somebody with a key, up to `max_body_bytes`, and passed on whole.
    """

    def __init__(self, app: App, *, keys: KeyFile, max_body_bytes: int, refuse: Callable[[Problem], App]) -> None:
        """`refuse` makes the answer."""
        self._app = app
        self._keys = keys
        self._max_body_bytes = max_body_bytes
        self._refuse = refuse

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        try:
            presented = _presented(scope["headers"])
            key = None if presented is None else self._keys.owner(presented)
            if key is None:
                raise Problem("unauthenticated", "no valid key in X-API-Key, nor in Authorization")
            body = await self._body(scope["headers"], receive)
        except Problem as problem:
            await self._refuse(problem)(scope, receive, send)
            return
        if body is None:  # the sender has gone
            return
        scope["state"] = {
            **scope.get("state", {}), "api_key": key, "size": len(body), "asked": hashlib.sha256(body).hexdigest()
        }  # fmt: skip
        await self._app(scope, _once(body, receive), send)

    async def _body(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> bytes | None:
        problem = Problem("too_large", f"the body has more than {self._max_body_bytes} bytes (API_MAX_BODY_BYTES)")
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and int(value) > self._max_body_bytes:
                raise problem
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_body_bytes:
                raise problem
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The key that came with the request: in X-API-Key, or in Authorization as `apikey KEY` or `Bearer KEY`."""
    found = dict(headers)
    if (key := found.get(b"x-api-key")) is not None:
        return key
    scheme, _, key = found.get(b"authorization", b"").partition(b" ")
    return key.strip() if scheme.lower() in (b"apikey", b"bearer") else None


def _once(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
