"""An administrator at a cluster of app-nodes."""

import json
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
