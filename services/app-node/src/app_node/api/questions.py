"""Questions about the cluster: what a GET may ask, and its answer. Redis answers them; no node is asked."""

import re
from collections import Counter
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError
from starlette.datastructures import QueryParams

from app_node.api.fields import MAX_TEXT, MOST_ROOM_NUMBER, Namespace
from app_node.api.keys import ApiKey
from app_node.api.problems import Problem
from app_node.interface.cursors import CURSOR_PATTERN, sid_of
from app_node.interface.patience import Patience
from app_node.interface.remote_client import RemoteClient
from app_node.interface.server import ClusterServer
from sio_cluster.protocol.errors import BusError, ConfigError, NodesTooOld
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.room_index import PAGE_LIMIT
from sio_cluster.streams.redis.overview import Overview

DEFAULT_LIMIT = 100
"""How many clients a page has, if its caller does not say."""

_DIGITS = re.compile(r"-?[0-9]{1,19}")
_T = TypeVar("_T")


def _number(value: Any) -> Any:
    """Digits only: not `1.0`, nor `1_000`, which Python takes for numbers too."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise PydanticCustomError("whole", "must be a whole number")
    return value


_DIGITS_ONLY = BeforeValidator(_number)


class Which(BaseModel):
    """Which clients are meant: those of a namespace, or of a room in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    room: Annotated[str | None, Field(max_length=MAX_TEXT, description="A room, or a sid. Without it: all.")] = None
    room_number: Annotated[
        Annotated[int, Field(ge=-MOST_ROOM_NUMBER, le=MOST_ROOM_NUMBER), _DIGITS_ONLY] | None,
        Field(description="The room, where its name is a number and not a text."),
    ] = None
    namespace: Namespace = "/"

    @model_validator(mode="after")
    def _one_of_both(self) -> "Which":
        if self.room is not None and self.room_number is not None:
            raise PydanticCustomError("both", "give room or room_number, not both", {"field": "room_number"})
        return self

    @property
    def meant(self) -> Room | None:
        """The room, as the server object takes it."""
        return self.room if self.room_number is None else self.room_number


class Clients(Which):
    """One page of the connected clients."""

    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT, description="How many at most."), _DIGITS_ONLY] = DEFAULT_LIMIT
    cursor: Annotated[
        Annotated[str, WithJsonSchema({"type": "string", "pattern": CURSOR_PATTERN})] | None,
        Field(description="The `cursor` of the page before, of the same room. Without it: the first page."),
    ] = None

    @model_validator(mode="after")
    def _of_this_question(self) -> "Clients":
        if self.cursor is not None:
            try:
                sid_of(self.cursor, self.namespace, self.meant)
            except ValueError as error:
                raise PydanticCustomError("of_another", "{why}", {"why": str(error), "field": "cursor"}) from None
        return self


class OfRoom(Which):
    """One room, which clients share: no sid."""

    room: Annotated[str | None, Field(max_length=MAX_TEXT, description="A room. It or room_number must be there.")] = (
        None
    )


class ClientView(BaseModel):
    """A connected client. Its session and its headers are for the application alone, and so not here."""

    sid: str
    namespace: str
    rooms: list[str | int]
    transport: str
    io_node: str
    connected_at: float | None


class PageView(BaseModel):
    """Some clients. `cursor`: give it to the next request; null: this was the last page."""

    clients: list[ClientView]
    cursor: str | None


class PageDone(BaseModel):
    result: PageView


class CountDone(BaseModel):
    """How many clients are connected."""

    result: int


class KeyView(BaseModel):
    """Who is present under one key: what each of its clients shows, with a `phx_ref` that no other has."""

    metas: list[dict[str, Any]]


class PresenceDone(BaseModel):
    """Who is present, by key, in the form of Phoenix' presence."""

    result: dict[str, KeyView]


class Questions:
    """Answers them. Each method raises Problem, "unavailable" too where Redis does not answer in time, or refuses."""

    def __init__(self, sio: ClusterServer, overview: Overview, patience: Patience) -> None:
        self._sio = sio
        self._overview = overview
        self._patience = patience

    async def info(self) -> dict[str, Any]:
        """The nodes of the cluster, and what each of them holds."""
        nodes = await self._answer(self._overview.nodes())
        return {"nodes": [asdict(node) for node in nodes], "clients": sum(node.clients or 0 for node in nodes)}

    async def clients(self, asked: Clients) -> dict[str, Any]:
        """A page, as `PageView`."""
        page = await self._answer(self._sio.clients(asked.meant, asked.namespace, asked.limit, asked.cursor))
        return {"clients": [view_of(client) for client in page], "cursor": page.cursor}

    async def count(self, asked: Which) -> int:
        return await self._answer(self._sio.count(asked.meant, asked.namespace))

    async def presence(self, asked: OfRoom) -> dict[str, Any]:
        """Who is present in the room, as in `PresenceDone`."""
        if asked.meant is None:
            raise Problem("malformed", "room: is missing", "room")
        try:
            presence = self._sio.presence(asked.meant, asked.namespace)
        except ValueError as error:  # a sid
            raise Problem("malformed", f"room: {error}", "room") from None
        return await self._answer(presence.list())

    async def _answer(self, question: Coroutine[Any, Any, _T]) -> _T:
        try:
            return await self._patience.or_take_back(question)
        except (BusError, ConfigError, NodesTooOld) as error:
            raise Problem("unavailable", str(error)) from None


def view_of(client: RemoteClient) -> dict[str, Any]:
    """As `ClientView`."""
    return {name: getattr(client, name) for name in ClientView.model_fields}


def require_scope(caller: ApiKey, verb: str, namespace: str | None = None) -> None:
    """Raises Problem where this key may not ask this, or not of this namespace."""
    if not caller.may_use(verb):
        raise Problem("forbidden", f"this key may not use {verb}")
    if namespace is not None and not caller.may_reach(namespace):
        raise Problem("forbidden", f"namespace: this key may not reach {namespace}", "namespace")


def require_each_once(given: QueryParams) -> None:
    """Raises Problem where a field stands in the URL twice: nobody could tell which one is meant."""
    for name, number in Counter(name for name, _ in given.multi_items()).items():
        if number > 1:
            raise Problem("malformed", f"{name}: stands there {number} times", name)
