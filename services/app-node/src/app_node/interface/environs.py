"""python-socketio's `server.environ`."""

from collections.abc import Iterator, Mapping
from typing import Any

from app_node.clients.client import Clients


class Environs(Mapping[str, dict[str, Any]]):
    """The `environ` of each client that is known here, by sid. Built when it is asked for."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def __getitem__(self, sid: str) -> dict[str, Any]:
        client = self._clients.get(sid)
        if client is None or not client.has_connected:
            raise KeyError(sid)
        return client.environ

    def __iter__(self) -> Iterator[str]:
        return (client.sid for client in self._clients if client.has_connected)

    def __len__(self) -> int:
        return sum(client.has_connected for client in self._clients)
