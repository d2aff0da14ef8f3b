"""The sessions that applications keep for their clients. They live in Redis and outlast app-nodes."""

import asyncio
from typing import Any

from app_node.clients.client import Clients, State
from app_node.clients.record_access import RecordAccess
from app_node.clients.session_codec import decode_session, encode_session


class Sessions:
    """A client whose lane this app-node holds has one session object, which all its handlers share."""

    def __init__(self, clients: Clients, records: RecordAccess) -> None:
        self._clients = clients
        self._records = records

    def loaded(self, sid: str, namespace: str) -> Any:
        """The session object that is here already, None where it must be loaded."""
        client = self._clients.present(sid, namespace)
        return None if client is None else client.session

    async def load(self, sid: str, namespace: str) -> Any:
        """The session from Redis, {} where nothing was saved. Raises KeyError for a client that is gone."""
        client = self._clients.present(sid, namespace)
        stored = await self._records.load_session(sid)
        if stored is None and client is None and await self._records.load(sid) is None:
            raise _not_found()
        session = {} if stored is None else decode_session(stored)
        if client is None:
            return session
        if client.session is None:  # another handler may have loaded it meanwhile: all share one object
            client.session = session
        return client.session

    async def save(self, sid: str, namespace: str, session: Any, encoded: bytes) -> None:
        """Stores a session (`encoded` is the same). Raises KeyError for a client that is gone, and LeaseLost."""
        client = self._clients.present(sid, namespace)
        if client is None:
            saved = await self._records.save_session(sid, encoded)
        else:
            client.session = session
            if client.session_lock is None:
                client.session_lock = asyncio.Lock()
            async with client.session_lock:  # one write of a client after the other; the latest session wins
                saved = await self._records.save_session(sid, encode_session(client.session))
        if not saved and (client is None or client.state is not State.GONE):
            raise _not_found()


def _not_found() -> KeyError:
    return KeyError("Session not found")  # as python-socketio says it
