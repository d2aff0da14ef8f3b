"""An administrator at a cluster of app-nodes."""

import json
from collections import defaultdict
from typing import Any

from sio_cluster.protocol.messages import Accept, Emit, Refuse

PASSWORD = {"username": "ada", "password": "correct horse"}


def said(io: Any, sid: str | None = None, namespace: str = "/admin") -> list[list[Any]]:
    """The events that were emitted to this administrator (None: to any)."""
    return [
        json.loads(command.packet[command.packet.index(b"[") :])
        for command in io.commands
        if isinstance(command, Emit) and command.namespace == namespace and (sid is None or sid in (command.to or ()))
    ]


def named(io: Any, event: str, sid: str | None = None) -> list[list[Any]]:
    """The arguments of each event of this name."""
    return [args for name, *args in said(io, sid) if name == event]


async def refusal(io: Any, auth: Any, namespace: str = "/admin") -> Any:
    """What a client gets that is not let in."""
    before = len([command for command in io.commands if isinstance(command, Refuse)])
    await io.ask(namespace, auth)
    refused = await io.wait(before + 1, Refuse)
    assert not [command for command in io.commands if isinstance(command, Accept)]
    return json.loads(refused[-1].data)


async def heard(io: Any, event: str, number: int = 1, sid: str | None = None) -> list[list[Any]]:
    """The arguments of the events of this name, once there are so many."""
    await io.until(lambda: len(named(io, event, sid)) >= number)
    return named(io, event, sid)


def instrumented(stage: Any, log: list[Any] | None = None, **options: Any) -> Any:
    sio = stage.echo_server(log)
    sio.instrument(**{"auth": PASSWORD, "mode": "production", "server_stats_interval": 0.05, **options})
    return sio


class Page:
    """What the page of npm's `@socket.io/admin-ui` 0.5 shows of clients and rooms, after it was told all this.

    It takes the rooms of a client from the first word about it. It takes no room of a client that it does not know. It
    lists a client once more in a room that it is told once more.
    """

    def __init__(self, told: list[list[Any]]) -> None:
        self.rooms_of: dict[str, list[Any]] = {}
        self.clients_in: dict[Any, list[str]] = defaultdict(list)
        for event, *args in told:
            getattr(self, f"_{event}", lambda *_: None)(*args)

    def _all_sockets(self, clients: list[dict[str, Any]]) -> None:
        self.rooms_of.clear()
        self.clients_in.clear()
        for client in clients:
            self._socket_connected(client)

    def _socket_connected(self, client: dict[str, Any], *_: Any) -> None:
        self.rooms_of.setdefault(client["id"], [*client["rooms"]])
        for room in client["rooms"]:
            if client["id"] not in self.clients_in[room]:
                self.clients_in[room].append(client["id"])

    def _socket_disconnected(self, namespace: str, sid: str, *_: Any) -> None:
        self.rooms_of.pop(sid, None)

    def _room_joined(self, namespace: str, room: Any, sid: str, *_: Any) -> None:
        if sid in self.rooms_of:
            if room not in self.rooms_of[sid]:
                self.rooms_of[sid].append(room)
            self.clients_in[room].append(sid)

    def _room_left(self, namespace: str, room: Any, sid: str, *_: Any) -> None:
        if room in self.rooms_of.get(sid, ()):
            self.rooms_of[sid].remove(room)
        if sid in self.clients_in[room]:
            self.clients_in[room].remove(sid)
