"""Lets administrators in: by their credentials, or by the session that they got for these before.

A session's id is a random word that the page keeps in its browser's local storage. Redis keeps a digest of it for a
day, so every app-node accepts it. It ends with the password that it was given for.

So does a connection, which outlasts app-nodes: what an administrator came in by is kept in the client's session. An
app-node with another password obeys none who came in by the former one. Where a function decides, nobody knows whether
it would still say yes: such a connection ends after a day, as a session does.
"""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from time import time
from typing import Any

import structlog

from app_node.admin.credentials import Credentials
from app_node.admin.guesses import Guesses
from app_node.admin.server import Server
from app_node.clients.session_codec import decode_session
from app_node.clock import Clock
from sio_cluster.node.retry import Retry
from sio_cluster.streams.api.records import ClientRecord

log = structlog.get_logger()

SESSION_MS = 86_400_000
"""How long a session counts: a day, as in Socket.IO's own server."""
REFUSED = "invalid credentials"
"""The page shows its form again for these very words, and for no others."""
ENDED = "other credentials, or a day is over"
"""Why an administrator is sent away."""
_CAME_IN_BY = "came_in_by"
"""In the client's session: the fingerprint of the credentials that counted."""
_UNTIL = "until"
"""Beside it, where a function decides: in seconds since 1970."""
_KNOWS_CLIENTS = "knows_clients"
"""Beside it: this administrator has the list of clients, and hears of changes since then."""


class Doorway:
    """The `connect` handler of the admin namespace. `refused` makes the error that refuses a client.

    `then(sid)` is awaited for each administrator who comes in.
    """

    def __init__(
        self,
        server: Server,
        namespace: str,
        credentials: Credentials,
        *,
        refused: Callable[[str], Exception],
        then: Callable[[str], Any],
        clock: Clock,
    ) -> None:
        self._server = server
        self._namespace = namespace
        self._credentials = credentials
        self._refused = refused
        self._then = then
        self._clock = clock
        self._guesses = Guesses()

    async def connect(self, sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
        """`is_reconnect`: another app-node has let it in. Raises what `refused` makes, and what the application's own
        function raises."""
        if is_reconnect:
            if not await self._counts_still(sid):
                log.warning("admin_ended", sid=sid, why=ENDED)
                raise self._refused(REFUSED)
            return
        address = str(environ.get("REMOTE_ADDR", ""))
        if not self._credentials.is_open and not await self._has_session(auth):
            if why := await self._why_not(auth, address):
                log.warning("admin_refused", sid=sid, address=address, why=why)
                raise self._refused(REFUSED)
            await self._begin_session(sid)
        await self._server.save_session(sid, self._came_in(), namespace=self._namespace)
        log.info("admin_connected", sid=sid, address=address)
        await self._then(sid)

    def counts(self, record: ClientRecord) -> bool:
        """Whether this administrator came in by the credentials that count here, and not too long ago."""
        session = None if record.session is None else decode_session(record.session)
        return self._is_of_now(session)

    def knows_clients(self, record: ClientRecord) -> bool:
        """Whether this administrator has the list of clients, from whichever app-node."""
        session = None if record.session is None else decode_session(record.session)
        return isinstance(session, dict) and bool(session.get(_KNOWS_CLIENTS))

    async def note_knows_clients(self, sid: str) -> None:
        """From now on `knows_clients`, on each app-node. Nothing where the administrator has gone."""
        with suppress(KeyError):
            session = await self._server.get_session(sid, namespace=self._namespace)
            await self._server.save_session(sid, {**session, _KNOWS_CLIENTS: True}, namespace=self._namespace)

    async def _counts_still(self, sid: str) -> bool:
        try:
            return self._is_of_now(await self._server.get_session(sid, namespace=self._namespace))
        except KeyError:  # it has just gone
            return False

    def _came_in(self) -> dict[str, Any]:
        session: dict[str, Any] = {_CAME_IN_BY: self._credentials.fingerprint}
        if self._credentials.is_a_function:
            session[_UNTIL] = time() + SESSION_MS / 1000
        return session

    def _is_of_now(self, session: Any) -> bool:
        if not isinstance(session, dict) or session.get(_CAME_IN_BY) != self._credentials.fingerprint:
            return False
        return not self._credentials.is_a_function or session.get(_UNTIL, 0.0) > time()

    async def _why_not(self, auth: Any, address: str) -> str | None:
        """None where these are right. Where too many were wrong, they are not even compared."""
        if isinstance(auth, dict) and auth.keys() == {"sessionId"}:  # a function expects what the form sends
            return "no such session"
        if not self._guesses.take(address, self._clock()):
            return "too many wrong ones from this address"
        if not await self._credentials.suffice(auth):
            return "wrong"
        self._guesses.give_back(address)
        return None

    async def _has_session(self, auth: Any) -> bool:
        shown = auth.get("sessionId") if isinstance(auth, dict) else None
        if not isinstance(shown, str):
            return False
        node = self._server.node
        digest = self._digest(shown)
        return await self._retry().call(lambda: node.bus.passes.counts(digest))

    async def _begin_session(self, sid: str) -> None:
        word, node = secrets.token_urlsafe(24), self._server.node
        digest = self._digest(word)
        await self._retry().call(lambda: node.bus.passes.issue(digest, SESSION_MS))
        await self._server.emit("session", word, to=sid, namespace=self._namespace)

    def _digest(self, word: str) -> str:
        proof = word.encode("utf-8", "replace") + b"\n" + self._namespace.encode() + self._credentials.fingerprint
        return hashlib.sha256(proof).hexdigest()

    def _retry(self) -> Retry:
        return Retry("admin", self._server.node.counters.redis_retries)
