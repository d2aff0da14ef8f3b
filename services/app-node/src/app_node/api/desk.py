"""Carries out what was asked, by the same server object that applications have, and says what became of it."""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, assert_never

import msgspec
from socketio import exceptions

from app_node.api.problems import Problem
from app_node.api.requests import (
    BatchRequest,
    Call,
    CloseRoom,
    Command,
    Disconnect,
    DisconnectRoom,
    Emit,
    EnterRoom,
    EnterRooms,
    LeaveRoom,
    LeaveRooms,
    Request,
)
from app_node.downlink.landing import landing_as_one
from app_node.interface.patience import Patience
from app_node.interface.server import ClusterServer
from sio_cluster.protocol.errors import BusUnavailable, NodesTooOld

PORTION = 200
"""So many commands of a batch are carried out at once, before others have a turn."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and a JSON body."""

    status: int
    body: bytes


class Desk:
    """Carries requests out."""

    def __init__(self, sio: ClusterServer, patience: Patience) -> None:
        self._sio = sio
        self._patience = patience

    async def within_patience(self, request: Request) -> Answer:
        """As `answer`, but not for longer than the caller waits. Then an emit is taken back, where it has not left."""
        try:
            match request:
                case Emit() | BatchRequest() if _only_emits(request):
                    return await self._patience.or_take_back(self.answer(request))
                case Call():
                    return await self._patience.or_take_back(self.answer(request), longer_s=request.timeout)
                case _:
                    return await self._patience.or_let_go_on(self.answer(request))
        except BusUnavailable as error:
            raise Problem("unavailable", str(error)) from None

    async def answer(self, request: Request) -> Answer:
        """What the caller is told. Waits for Redis as long as it takes.

        Raises Problem where nothing was done, and the same request may be carried out a moment later.
        """
        if isinstance(request, BatchRequest):
            return Answer(200, _encode({"result": await self._batch(request)}))
        try:
            return Answer(200, _encode({"result": await self._carry_out(request)}))
        except Problem as problem:
            if problem.code == "nodes_too_old":
                raise
            return Answer(problem.status, _encode(problem.body))

    async def _batch(self, request: BatchRequest) -> list[dict[str, Any]]:
        """One reply for each command. All are in Redis when this returns, in their order for each client."""
        replies: list[dict[str, Any]] = []
        with landing_as_one() as landing:
            for number, command in enumerate(request.commands, 1):
                try:
                    replies.append({"result": await self._carry_out(command)})
                except Problem as problem:
                    replies.append(problem.body)
                if number % PORTION == 0:
                    await asyncio.sleep(0)
            await landing.landed()
        return replies

    async def _carry_out(self, command: Command) -> Any:
        sio = self._sio
        match command:
            case Emit(event=event, room=room, skip_sid=skip, namespace=namespace):
                emit = sio.emit(
                    event,
                    command.values,
                    room=room,
                    skip_sid=skip,
                    namespace=namespace,
                    except_room=command.except_room,
                    volatile=command.volatile,
                )
                return await _told(emit, "data" if command.args is None else "args")
            case Call(event=event, sid=sid, timeout=timeout, namespace=namespace):
                call = sio.call(event, command.values, sid=sid, timeout=timeout, namespace=namespace)
                return await _told(call, "data" if command.args is None else "args")
            case Disconnect(sid=sid, namespace=namespace, close=close):
                await (sio.close_connection if close else sio.disconnect)(sid, namespace)
                return None
            case EnterRoom(sid=sid, room=room, namespace=namespace):
                return await _told(sio.enter_room(sid, room, namespace), "room")
            case LeaveRoom(sid=sid, room=room, namespace=namespace):
                return await _told(sio.leave_room(sid, room, namespace), "room")
            case CloseRoom(room=room, namespace=namespace):
                return await _told(sio.close_room(room, namespace), "room")
            case EnterRooms(rooms=rooms, room=room, except_room=excepted, namespace=namespace):
                return await _told(sio.enter_rooms(rooms, room, excepted, namespace), "rooms")
            case LeaveRooms(rooms=rooms, room=room, except_room=excepted, namespace=namespace):
                return await _told(sio.leave_rooms(rooms, room, excepted, namespace), "rooms")
            case DisconnectRoom(room=room, close=close, except_room=excepted, namespace=namespace):
                return await _told(sio.disconnect_room(room, close, excepted, namespace), "room")
            case _:
                assert_never(command)


def _only_emits(request: Emit | BatchRequest) -> bool:
    return isinstance(request, Emit) or all(isinstance(command, Emit) for command in request.commands)


async def _told(operation: Coroutine[Any, Any, Any], field: str) -> Any:
    """Its result. Raises Problem for what the server object raises; `field` is what a ValueError is about."""
    try:
        return await operation
    except exceptions.TimeoutError:
        raise Problem("no_answer", "the client has not answered in time") from None
    except (exceptions.DisconnectedError, KeyError):
        raise Problem("not_connected", "no client of this sid is connected", "sid") from None
    except NodesTooOld as error:
        raise Problem("nodes_too_old", f"nothing was done: {error}") from None
    except RecursionError:
        raise Problem("malformed", f"{field}: is nested too deeply", field) from None
    except (TypeError, ValueError) as error:
        raise Problem("malformed", f"{field}: {error}", field) from None


def _encode(body: Any) -> bytes:
    """As JSON. Bytes in a client's answer become base64."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # half of a surrogate pair, which the standard library writes
        return json.dumps(body, default=msgspec.to_builtins).encode()
