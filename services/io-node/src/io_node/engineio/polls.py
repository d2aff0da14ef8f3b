"""The HTTP requests of one connection by long-polling: at most one GET and one POST at a time."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from io_node.engineio.session import inbound
from io_node.engineio.session.effects import Effect
from io_node.engineio.session.machine import EngineSession
from sio_cluster.protocol import reasons

_POST_SLICE = 200
"""How many packets of one POST are handled before other clients get their turn."""


class Owner(Protocol):
    """The connection that the requests belong to."""

    clock: Callable[[], float]
    closed_reason: str | None
    paused: bool

    def apply(self, effects: Iterable[Effect]) -> bool: ...
    def arm(self) -> None: ...
    def fail(self, reason: str) -> None: ...


class Response(Protocol):
    """A payload that is written in pieces."""

    @property
    def backlog(self) -> int:
        """How many bytes of it the client has not taken."""

    def abort(self) -> None:
        """Drop the HTTP connection at once."""


class Polls:
    """What is under way of the requests of one connection."""

    __slots__ = ("_owner", "_posting", "_resumed", "_session", "_waiting", "response")

    def __init__(self, owner: Owner, session: EngineSession) -> None:
        self._owner = owner
        self._session = session
        self._waiting: asyncio.Future[bytes] | None = None
        self._posting = False
        self._resumed: asyncio.Future[None] | None = None
        self.response: Response | None = None
        """A large payload that is on its way."""

    def poll(self) -> asyncio.Future[bytes] | None:
        """The payload, which may be still to come. None: two polls at once, so the session closes.

        A poll that comes while the answer to the one before is still being written is one too many as well.
        """
        if self._session.poll_waiting or self.response is not None:
            self._owner.fail(reasons.TRANSPORT_ERROR)
            return None
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        self._owner.apply(self._session.poll(self._owner.clock()))
        self._owner.arm()
        return waiting

    def answer(self, payload: bytes) -> None:
        """Answer the poll that waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(payload)

    def begin_response(self, payload: bytes, response: Response) -> None:
        """A large payload is on its way. Until `end_response` it counts as waiting for the client."""
        self.response = response
        self._session.congested(payload, len(payload), self._owner.clock())
        self._owner.arm()

    def end_response(self, response: Response) -> None:
        """The client has taken all of it, or has gone."""
        if response is self.response:
            self.response = None
            self._owner.apply(self._session.emptied(self._owner.clock()))
            self._owner.arm()

    def begin_post(self) -> bool:
        """False: two POSTs at once. The session closes."""
        if self._posting:
            self._owner.fail(reasons.TRANSPORT_ERROR)
            return False
        self._posting = True
        return True

    def end_post(self) -> None:
        self._posting = False

    async def post(self, body: bytes) -> bool:
        """Handle a payload. Other clients get their turn meanwhile. False if it was no Engine.IO payload."""
        complete = False
        try:
            for count, effects in enumerate(inbound.post(self._session, body, self._owner.clock()), 1):
                if not self._owner.apply(effects):  # the session closes, and ignores the rest
                    complete = True
                    return True
                if count % _POST_SLICE == 0:
                    await asyncio.sleep(0)
            complete = True
        finally:
            if not complete:  # a bug, or the server stops. The rest of the payload is lost, so the session must end
                self._owner.fail(reasons.TRANSPORT_ERROR)
            self._owner.arm()
        return self._owner.closed_reason != reasons.PARSE_ERROR

    async def readable(self) -> None:
        """Wait until reading is not paused."""
        while self._owner.paused:
            if self._resumed is None:
                self._resumed = asyncio.get_running_loop().create_future()
            await self._resumed

    def resume(self) -> None:
        """Reading is paused no more."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    def abort(self) -> None:
        """The session is over: drop a payload that is still on its way."""
        response, self.response = self.response, None
        if response is not None:
            response.abort()
