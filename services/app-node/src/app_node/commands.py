"""What this package adds to the command `sio-cluster`: saying something to clients, who they are, and the HTTP API.

    sio-cluster emit news '{"n": 1}' --room lobby
    sio-cluster call vote '"now?"' --sid SID
    sio-cluster disconnect SID
    sio-cluster clients --room lobby
    sio-cluster rooms
    sio-cluster presence lobby
    sio-cluster api

`add_to` is the entry point (`sio_cluster.cli`).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
import typer
import uvloop
from rich.markup import escape
from rich.table import Table
from socketio import exceptions

from app_node.api.questions import view_of
from app_node.interface.patience import Patience
from app_node.interface.remote_client import RemoteClient
from app_node.interface.server import ClusterServer, get_client
from sio_cluster.cli import EXIT_NOT_FOUND, EXIT_REFUSED, AsJson, answer_of, console, namespace_option, refuse
from sio_cluster.node.process.running import run_node
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusError, ConfigError, NodesTooOld
from sio_cluster.protocol.ids import node_of
from sio_cluster.streams.api.room_index import PAGE_LIMIT
from sio_cluster.streams.redis.overview import Overview

Event = Annotated[str, typer.Argument(help="Its name", show_default=False)]
Data = Annotated[str | None, typer.Argument(help="Its argument, as JSON", show_default=False)]
Namespace = Annotated[str, namespace_option("The clients' namespace")]
RoomNumber = Annotated[int | None, typer.Option(help="The room, where its name is a number")]
Timeout = Annotated[float, typer.Option(help="Seconds that Redis gets", min=0.001)]

_T = TypeVar("_T")

_TOO_DEEP = "the data are nested too deeply"


def add_to(cli: typer.Typer) -> None:
    """Adds these commands."""
    for command in (emit, call, disconnect, clients, rooms, presence, api):
        cli.command()(command)


def emit(
    event: Event,
    data: Data = None,
    room: Annotated[list[str] | None, typer.Option(help="A room or a sid; may be given again. Else: all")] = None,
    room_number: Annotated[
        list[int] | None, typer.Option(help="A room whose name is a number; may be given again")
    ] = None,
    namespace: Namespace = "/",
    skip_sid: Annotated[list[str] | None, typer.Option(help="A client that does not get it")] = None,
    except_room: Annotated[list[str] | None, typer.Option(help="A room or a sid that does not get it")] = None,
    volatile: Annotated[
        bool, typer.Option("--volatile", help="Only to clients that can be written to at once")
    ] = False,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Emits an event. Ends when Redis has it."""
    value = _decoded(data)

    async def emitted(sio: ClusterServer) -> None:
        await sio.emit(
            event,
            value,
            room=[*(room or ()), *(room_number or ())] or None,
            skip_sid=skip_sid,
            namespace=namespace,
            except_room=except_room,
            volatile=volatile,
        )

    _with_server(emitted, timeout)
    typer.echo(json.dumps({"emitted": event}) if as_json else "emitted")


def call(
    event: Event,
    sid: Annotated[str, typer.Option(help="The client that is asked", show_default=False)],
    data: Data = None,
    namespace: Namespace = "/",
    answer_in: Annotated[float, typer.Option(help="Seconds that the client gets", min=0.001)] = 10.0,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Emits an event to one client, and prints its answer as JSON. Bytes in it become base64."""
    value = _decoded(data)
    if node_of(sid) is None:
        refuse(f"{sid} is no sid", EXIT_REFUSED)  # it would be a room, and its members would be asked
    try:
        answer = _with_server(
            lambda sio: sio.call(event, value, sid=sid, namespace=namespace, timeout=answer_in), timeout + answer_in
        )
    except exceptions.TimeoutError:
        refuse(f"{sid} has not answered within {answer_in:g} s", EXIT_NOT_FOUND)
    except exceptions.DisconnectedError:
        refuse(f"{sid} is not connected", EXIT_NOT_FOUND)
    typer.echo(json.dumps({"answer": answer} if as_json else answer, default=msgspec.to_builtins))


def disconnect(
    sid: Annotated[str, typer.Argument(help="The client", show_default=False)],
    namespace: Namespace = "/",
    close: Annotated[bool, typer.Option("--close", help="Its whole connection, other namespaces too")] = False,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Disconnects a client. Ends with status 1 where it was not connected."""

    async def carry_out(sio: ClusterServer) -> bool:
        connected: bool = await sio.manager.can_disconnect(sid, namespace)
        await (sio.close_connection if close else sio.disconnect)(sid, namespace)
        return connected

    if not _with_server(carry_out, timeout):
        refuse(f"{sid} is not connected to {namespace}", EXIT_NOT_FOUND)
    typer.echo(json.dumps({"disconnected": sid}) if as_json else "disconnected")


def clients(
    room: Annotated[str | None, typer.Option(help="Only those in this room. Else: all")] = None,
    room_number: RoomNumber = None,
    namespace: Namespace = "/",
    limit: Annotated[int, typer.Option(help="How many at most", min=1)] = 100,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Lists connected clients, with their rooms."""

    async def ask(sio: ClusterServer) -> tuple[list[RemoteClient], int]:
        return await _first(sio, of, namespace, limit), await sio.count(of, namespace)

    of = _one_of(room, room_number)
    found, number = _with_server(ask, timeout)
    if as_json:
        typer.echo(json.dumps([view_of(client) for client in found], indent=2))
        return
    table = Table("sid", "io-node", "transport", "connected at", "rooms")
    for client in found:
        others = ", ".join(_shown(room) for room in client.rooms if room != client.sid)
        table.add_row(client.sid, client.io_node, client.transport, _time(client.connected_at), others)
    console().print(table if found else "There are no clients.")
    if number > len(found):
        typer.echo(f"{len(found)} of {number} clients: --limit shows more")


def rooms(
    namespace: Namespace = "/",
    prefix: Annotated[str, typer.Option(help="Only rooms whose names begin like this")] = "",
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Lists the rooms that have connected clients, the largest first, and how many clients each has."""
    counts = _with_server(lambda sio: sio.all_rooms(prefix, namespace), timeout)
    found = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    if as_json:
        typer.echo(json.dumps([{"room": room, "clients": number} for room, number in found], indent=2))
        return
    table = Table("room", "clients")
    for room, number in found:
        table.add_row(_shown(room), str(number))
    console().print(table if found else "There are no rooms.")


def presence(
    room: Annotated[str | None, typer.Argument(help="The room", show_default=False)] = None,
    room_number: RoomNumber = None,
    namespace: Namespace = "/",
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Lists who is present in a room: each key, and what each of its clients shows."""
    of = _one_of(room, room_number)
    if of is None:
        raise typer.BadParameter("say which room", param_hint="ROOM")
    present = _with_server(lambda sio: sio.presence(of, namespace).list(), timeout)
    if as_json:
        typer.echo(json.dumps(present, indent=2))
        return
    table = Table("key", "clients", "what they show")
    for key, shown in sorted(present.items()):
        metas = [{name: value for name, value in meta.items() if name != "phx_ref"} for meta in shown["metas"]]
        table.add_row(
            _shown(key), str(len(metas)), "\n".join(_shown(json.dumps(meta, ensure_ascii=False)) for meta in metas)
        )
    console().print(table if present else "Nobody is present.")


def api() -> None:
    """Serves the HTTP API until it is stopped. Settings come from the environment; API_KEYS_FILE must be there."""
    from app_node.api.serving import serve  # not above: FastAPI takes long, and no other command needs it

    try:
        run_node(serve(Config()), uvloop.new_event_loop)
    except ConfigError as error:
        refuse(error, EXIT_REFUSED)


def _one_of(room: str | None, room_number: int | None) -> str | int | None:
    """The room that is meant: 7 and "7" are two. None where no room is named."""
    if room is not None and room_number is not None:
        raise typer.BadParameter("name one room", param_hint="--room-number")
    return room if room_number is None else room_number


async def _first(sio: ClusterServer, room: str | int | None, namespace: str, limit: int) -> list[RemoteClient]:
    """At most so many of the clients. A page may be empty and not be the last one."""
    found: list[RemoteClient] = []
    cursor = None
    while len(found) < limit:
        page = await sio.clients(room, namespace, min(limit - len(found), PAGE_LIMIT), cursor)
        found += page
        cursor = page.cursor
        if cursor is None:
            break
    return found


def _shown(room: str | int) -> str:
    """For a table: clients may choose names of rooms, and a terminal obeys control characters."""
    name = str(room)
    return escape(name if name.isprintable() else ascii(name)[1:-1])


def _time(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def _decoded(data: str | None) -> Any:
    try:
        return None if data is None else json.loads(data)
    except RecursionError:
        refuse(_TOO_DEEP, EXIT_REFUSED)
    except ValueError as error:
        raise typer.BadParameter(f"is no JSON ({error}); a text needs quotes: '\"hello\"'", param_hint="DATA") from None


def _with_server(command: Callable[[ClusterServer], Awaitable[_T]], timeout_s: float) -> _T:
    """What the command returns or raises, within this time. One line and status 2 where Redis, the settings or the
    arguments are at fault.

    LANES need not be set: the cluster has them. There must be one, so that a wrong REDIS_PREFIX founds no other.
    """
    lanes = answer_of(lambda bus: Overview(bus.connections, bus.keys).lanes())

    async def carry_out() -> _T:
        sio = get_client({"LANES": lanes})
        try:
            return await Patience(timeout_s).or_take_back(_awaited(command(sio)))
        finally:
            await sio.shutdown()

    try:
        return asyncio.run(carry_out())
    except (ConfigError, BusError, NodesTooOld, TypeError, ValueError) as error:
        refuse(error, EXIT_REFUSED)
    except RecursionError:
        refuse(_TOO_DEEP, EXIT_REFUSED)


async def _awaited(operation: Awaitable[_T]) -> _T:
    return await operation
