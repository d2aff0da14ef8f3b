"""Storing anew what this node knows about its clients, after Redis lost its data."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec
import structlog

from io_node.socketio.session import Client
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.redis.records import Accepted, Joined, RecordChange

log = structlog.get_logger()

_CHUNK = 500


class Records(Protocol):
    async def store(self, connected: Sequence[ClientConnected]) -> None: ...

    async def update(self, changes: Sequence[RecordChange]) -> int: ...


class Present(Protocol):
    """The hub."""

    def clients(self) -> list[Client]: ...

    def __contains__(self, sid: str) -> bool: ...


async def restore(hub: Present, records: Records) -> None:
    """Store the records of all clients with their rooms. Sessions are lost: only Redis had them. Raises BusError."""
    clients = hub.clients()
    for start in range(0, len(clients), _CHUNK):
        present = [client for client in clients[start : start + _CHUNK] if client.sid in hub]
        await records.store([_as_it_is_now(client) for client in present])
        await records.update(list(_changes(present)))
    log.info("records_restored", clients=len(clients))


def _as_it_is_now(client: Client) -> ClientConnected:
    return msgspec.structs.replace(client.connected, transport=client.session.connection.transport)


def _changes(clients: Iterable[Client]) -> Iterator[RecordChange]:
    for client in clients:
        if client.joined:
            yield Accepted(client.sid)
        for room in client.rooms:
            yield Joined(client.sid, room)
