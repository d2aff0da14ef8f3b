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
        """The session from Redis, {} where nothing was saved. Raises KeyError for a client that is not, or not any
        more, of this namespace."""
        client = self._clients.present(sid, namespace)
        if client is None:
            record = await self._records.load(sid)
            if record is None or record.connected.namespace != namespace:
                raise _not_found()
            return {} if record.session is None else decode_session(record.session)
        stored = await self._records.load_session(sid)
        if client.session is None:  # another handler may have loaded it meanwhile: all share one object
            client.session = {} if stored is None else decode_session(stored)
        return client.session

    async def save(self, sid: str, namespace: str, session: Any, encoded: bytes) -> None:
        """Stores a session (`encoded` is the same). Raises KeyError as `load`, and LeaseLost."""
        client = self._clients.present(sid, namespace)
        if client is None:
            record = await self._records.load(sid)
            is_meant = record is not None and record.connected.namespace == namespace
            saved = is_meant and await self._records.save_session(sid, encoded)
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
