"""A light client that keeps pid and offset as socket.io-client does.

It is in the namespace /sink of tests/chaos/app.py, whose clients are in no record.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from sio_cluster.testing.client import Client

ANSWER_S = 20.0
NAMESPACE = b"/sink,"


class Session(NamedTuple):
    """What a client needs to come back. `pid`: None where the server does not offer that."""

    sid: str
    pid: str | None
    offset: str | None = None


class Probe:
    """`async with Probe(url) as probe`: one connection. Leaving it is a loss of the connection, and no goodbye."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = Client(self._took)
        self._offset: str | None = None
        self._events = 0
        self._moved = asyncio.Event()
        self._answer: dict[str, Any] = {}

    async def __aenter__(self) -> "Probe":
        await self._client.connect(self._url)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.disconnect()

    async def connect(self, session: Session | None = None) -> Session:
        """Joins the namespace, with an old session or as a new client."""
        claim = {"pid": session.pid, "offset": session.offset} if session else {}
        self._client.send(b"40%s%s" % (NAMESPACE, json.dumps({"recovery": True} | claim).encode()))
        await self._until(lambda: bool(self._answer), "no answer to CONNECT")
        return Session(self._answer["sid"], self._answer.get("pid"))

    async def events(self, count: int) -> int:
        """Waits until so many events came. Returns how many there are."""
        await self._until(lambda: self._events >= count, f"not {count} events")
        return self._events

    def session(self, session: Session) -> Session:
        """This session with the offset of the last event."""
        return session._replace(offset=self._offset)

    def _took(self, packet: bytes) -> None:
        kind, rest = packet[:2], packet[2:].removeprefix(NAMESPACE)
        if kind == b"40":
            self._answer = json.loads(rest)
        elif kind == b"42":
            self._events += 1
            *_, last = json.loads(rest)
            self._offset = last
        self._moved.set()

    async def _until(self, condition: Callable[[], bool], else_: str) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                while not condition():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise AssertionError(f"{else_} within {ANSWER_S:g} s, {self._events} events came") from None
