"""Stores anew what this node knows about its clients, after Redis lost its data."""

from collections.abc import Iterable, Iterator

import msgspec
import structlog

from io_node.socketio.client import Client
from io_node.socketio.hub import Hub
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.api.records import Accepted, ClientRecords, Joined, RecordChange

log = structlog.get_logger()

_CHUNK = 500
"""How many clients are stored in one call."""


async def restore(hub: Hub, records: ClientRecords) -> None:
    """Store the records of all clients, with their rooms. Raises BusError: call it again then.

    What `save_session` stored is lost: only Redis had it. So is the log, so nobody can claim a session of before.
    """
    clients = hub.clients()
    for start in range(0, len(clients), _CHUNK):
        present = [client for client in clients[start : start + _CHUNK] if client.sid in hub]
        await records.store([_as_it_is_now(client) for client in present])
        await records.update(list(_changes(present)))
    log.info("records_restored", clients=len(clients))


def _as_it_is_now(client: Client) -> ClientConnected:
    transport = client.session.connection.transport
    client.connected = msgspec.structs.replace(client.connected, transport=transport)
    client.can_claim = False
    return client.connected


def _changes(clients: Iterable[Client]) -> Iterator[RecordChange]:
    for client in clients:
        if client.joined:
            yield Accepted(client.sid)
        for room in client.rooms:
            yield Joined(client.sid, client.namespace, room)
