"""The clients that connected last, and the namespaces that there are: what the page gets as its list of clients."""

import asyncio
import heapq
from typing import Any

import msgspec

from app_node.admin.server import MOST_NAMESPACES, Server, namespaces_of
from app_node.admin.sockets import serialized
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.figures import Figures
from sio_cluster.streams.api.records import ClientRecord

MOST_SOCKETS = 1_000
"""So many clients the page gets: those that connected last. It would not stand many more."""
MOST_LIST_BYTES = 3_000_000
"""Of them, those that have room in one message. Names of rooms may be long. 3 MB take about 20 ms, in one turn of the
event loop; and 4 MiB are the most that python-socketio's client takes."""
_MOST_LOOKED_AT = 50_000
"""Of so many clients the last ones are sought."""
_PART = 200
"""So many clients are read at once."""
_READY_IN_A_TURN = 50
"""So many are made ready in one turn of the event loop. With long headers each takes about 0.2 ms."""


class NewestClients:
    """One for an app-node. Clients are read from Redis anew for each call; namespaces are remembered."""

    def __init__(self, server: Server, retry: Retry) -> None:
        self._server = server
        self._node = server.node
        self._retry = retry
        self._names: set[str] = set()

    @property
    def namespaces(self) -> set[str]:
        """All that were known at the last look."""
        return {*self._names}

    async def clients(self) -> list[dict[str, Any]]:
        """The clients that connected last, as many as one message has room for."""
        clients, left = [], MOST_LIST_BYTES
        for number, record in enumerate(await self._newest()):
            if number % _READY_IN_A_TURN == 0:
                await asyncio.sleep(0)
            client = serialized(record)
            size = len(msgspec.json.encode(client))
            if size <= left:
                clients.append(client)
                left -= size
        await asyncio.sleep(0)  # the message is written in a turn of its own
        return clients

    async def all_namespaces(self) -> list[str]:
        """As `known_namespaces`, of what io-nodes say now."""
        return self.known_namespaces(await self._retry.call(self._node.bus.registry.io_nodes))

    def known_namespaces(self, infos: dict[str, dict[str, str]]) -> list[str]:
        """Those with handlers, then others that have clients, at most MOST_NAMESPACES. Those known before stay: the
        page does not forget any, and clients may invent names where a handler is for all namespaces."""
        seen: set[str] = set()
        for info in infos.values():
            seen.update((Figures.decoded(info) or Figures()).namespaces)
        for name in (*namespaces_of(self._server), *sorted(seen)):
            if len(self._names) < MOST_NAMESPACES:
                self._names.add(name)
        return sorted(self._names)

    async def _newest(self) -> list[ClientRecord]:
        newest: list[ClientRecord] = []
        looked_at = 0
        for namespace in await self.all_namespaces():
            cursor = None
            while looked_at < _MOST_LOOKED_AT:
                page = await self._node.clients.queries.page(namespace, None, _PART, cursor)
                looked_at += len(page.records)
                newest += page.records
                if len(newest) > 2 * MOST_SOCKETS:
                    newest = heapq.nlargest(MOST_SOCKETS, newest, key=_connected_at)
                cursor = page.cursor
                if cursor is None:
                    break
        return heapq.nlargest(MOST_SOCKETS, newest, key=_connected_at)


def _connected_at(record: ClientRecord) -> float:
    return record.connected_at or 0.0
