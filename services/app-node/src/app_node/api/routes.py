"""The paths of the API, and how each answer is made."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.security import APIKeyHeader
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from app_node.api import requests as asked
from app_node.api.desk import Desk
from app_node.api.door import Door
from app_node.api.fields import KEY_CHARS
from app_node.api.keys import COMMANDS, ApiKey, KeyFile
from app_node.api.metrics import ApiCounters
from app_node.api.once import Once
from app_node.api.problems import STATUS_OF, Problem
from app_node.api.questions import (
    Clients,
    CountDone,
    OfRoom,
    PageDone,
    PresenceDone,
    Questions,
    Which,
    require_each_once,
    require_scope,
)
from sio_cluster.node.monitoring.health import Health, health_routes

TITLE = "Socket.IO Cluster"

_KEY = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=KEY_CHARS, pattern=r"^[\x20-\x7e]+$"),
]


class Done(BaseModel):
    """What was asked for is in Redis. `result` is what a call's client answered, else null."""

    result: Any


class Fault(BaseModel):
    """Programs look at `code`. `field` is the part of the request that is at fault, null where it is no part of it."""

    code: str
    message: str
    field: str | None


class Refused(BaseModel):
    """The request was not carried out, or nobody knows."""

    error: Fault


class BatchDone(BaseModel):
    """One reply for each command, in their order."""

    result: list[Done | Refused]


class Api:
    """Answers requests. `app` is what a server runs."""

    def __init__(
        self,
        *,
        desk: Desk,
        once: Once,
        questions: Questions,
        keys: KeyFile,
        max_body_bytes: int,
        health: Health,
        counters: ApiCounters,
    ) -> None:
        self._desk = desk
        self._once = once
        self._questions = questions
        self._counters = counters
        app = FastAPI(title=TITLE, docs_url=None, redoc_url=None)
        app.router.routes.extend(health_routes(health))
        app.include_router(self._routes())
        app.exception_handler(Problem)(self._of_problem)
        app.exception_handler(RequestValidationError)(self._of_malformed)
        app.exception_handler(HTTPException)(self._of_http)
        app.exception_handler(Exception)(self._of_defect)
        app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # as FastAPI's documentation does
        self.description = app.openapi
        self.app = Door(app, keys=keys, max_body_bytes=max_body_bytes, refuse=self._refuse)

    def _routes(self) -> APIRouter:
        """Where a new question about the cluster gets its path: a GET beside /api/info."""
        key_of_caller = Depends(APIKeyHeader(name="X-API-Key", auto_error=False))
        problems: dict[int | str, dict[str, Any]] = {status: {"model": Refused} for status in STATUS_OF.values()}
        routes = APIRouter(prefix="/api", dependencies=[key_of_caller], responses=problems)

        @routes.post("/emit", response_model=Done)
        async def emit(request: Request, body: asked.EmitRequest, key: _KEY = None) -> Response:
            """Emits an event."""
            return await self._answer(request, "emit", body, key)

        @routes.post("/batch", response_model=BatchDone)
        async def batch(request: Request, body: asked.BatchRequest, key: _KEY = None) -> Response:
            """Carries out several commands in their order. If one is malformed or forbidden, none is carried out."""
            return await self._answer(request, "batch", body, key)

        @routes.post("/call", response_model=Done)
        async def call(request: Request, body: asked.CallRequest, key: _KEY = None) -> Response:
            """Emits an event to one client, and answers with what it answers. Bytes in it become base64."""
            return await self._answer(request, "call", body, key, longer_s=body.timeout)

        @routes.post("/disconnect", response_model=Done)
        async def disconnect(request: Request, body: asked.DisconnectRequest, key: _KEY = None) -> Response:
            """Disconnects a client."""
            return await self._answer(request, "disconnect", body, key)

        @routes.post("/enter_room", response_model=Done)
        async def enter_room(request: Request, body: asked.EnterRoomRequest, key: _KEY = None) -> Response:
            """A client enters a room."""
            return await self._answer(request, "enter_room", body, key)

        @routes.post("/leave_room", response_model=Done)
        async def leave_room(request: Request, body: asked.LeaveRoomRequest, key: _KEY = None) -> Response:
            """A client leaves a room."""
            return await self._answer(request, "leave_room", body, key)

        @routes.post("/close_room", response_model=Done)
        async def close_room(request: Request, body: asked.CloseRoomRequest, key: _KEY = None) -> Response:
            """All clients leave a room."""
            return await self._answer(request, "close_room", body, key)

        @routes.post("/enter_rooms", response_model=Done)
        async def enter_rooms(request: Request, body: asked.EnterRoomsRequest, key: _KEY = None) -> Response:
            """All clients that match enter these rooms."""
            return await self._answer(request, "enter_rooms", body, key)

        @routes.post("/leave_rooms", response_model=Done)
        async def leave_rooms(request: Request, body: asked.LeaveRoomsRequest, key: _KEY = None) -> Response:
            """All clients that match leave these rooms."""
            return await self._answer(request, "leave_rooms", body, key)

        @routes.post("/disconnect_room", response_model=Done)
        async def disconnect_room(request: Request, body: asked.DisconnectRoomRequest, key: _KEY = None) -> Response:
            """Disconnects all clients that match."""
            return await self._answer(request, "disconnect_room", body, key)

        @routes.get("/info", response_model=Done)
        async def info(request: Request) -> Response:
            """The nodes of the cluster, and what each of them holds."""
            self._begin_question(request, "info")
            return self._answered(request, await self._questions.info())

        @routes.get("/clients", response_model=PageDone)
        async def clients(request: Request, which: Annotated[Clients, Query()]) -> Response:
            """One page of the connected clients of a namespace, or of a room in it."""
            self._begin_question(request, "clients", which)
            return self._answered(request, await self._questions.clients(which))

        @routes.get("/count", response_model=CountDone)
        async def count(request: Request, which: Annotated[Which, Query()]) -> Response:
            """How many clients of a namespace are connected, or of a room in it."""
            self._begin_question(request, "count", which)
            return self._answered(request, await self._questions.count(which))

        @routes.get("/presence", response_model=PresenceDone)
        async def presence(request: Request, which: Annotated[OfRoom, Query()]) -> Response:
            """Who is present in a room."""
            self._begin_question(request, "presence", which)
            return self._answered(request, await self._questions.presence(which))

        return routes

    async def _answer(
        self, request: Request, verb: str, body: asked.Request, header_key: str | None, longer_s: float = 0
    ) -> Response:
        request.scope["verb"] = verb
        caller: ApiKey = request.state.api_key
        commands = body.commands if isinstance(body, asked.BatchRequest) else [body]
        _require_scopes(caller, commands, in_batch=isinstance(body, asked.BatchRequest))
        self._counters.commands += len(commands)
        key = _only_key(header_key, body.idempotency_key)
        if key is None:
            answer = await self._desk.within_patience(body)
        else:
            digest, size = f"{verb} {request.state.asked}", request.state.size
            answer = await self._once.answer(
                caller.name, key, digest, size, lambda: self._desk.answer(body), longer_s=longer_s
            )
        return self._respond(request.scope, answer.status, answer.body)

    def _begin_question(self, request: Request, verb: str, which: Which | None = None) -> None:
        request.scope["verb"] = verb
        require_scope(request.state.api_key, verb, None if which is None else which.namespace)
        if which is not None:
            require_each_once(request.query_params)

    def _answered(self, request: Request, result: Any) -> Response:
        return self._respond(request.scope, 200, json.dumps({"result": result}).encode())

    # --- answers

    def _respond(self, scope: Any, status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
        self._counters.requests[scope.get("verb", ""), str(status)] += 1
        kept_by_nobody = {"Cache-Control": "no-store", **(headers or {})}
        return Response(body, status, kept_by_nobody, "application/json")

    def _refuse(self, problem: Problem) -> Any:
        return self._respond({}, problem.status, json.dumps(problem.body).encode(), problem.headers)

    async def _of_problem(self, request: Request, problem: Any) -> Response:
        body = json.dumps(problem.body).encode()
        return self._respond(request.scope, problem.status, body, problem.headers)

    async def _of_malformed(self, request: Request, error: Any) -> Response:
        return await self._of_problem(request, _malformed(error.errors()))

    async def _of_http(self, request: Request, error: Any) -> Response:
        """What FastAPI and Starlette say by themselves."""
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "malformed")
        problem = Problem(code, str(error.detail))
        body = json.dumps(problem.body).encode()
        return self._respond(request.scope, problem.status, body, {**problem.headers, **(error.headers or {})})

    async def _of_defect(self, request: Request, error: Exception) -> Response:
        """The error itself is in the log."""
        return await self._of_problem(request, Problem("failed", "the request failed: see the API's log"))


def _require_scopes(caller: ApiKey, commands: Any, *, in_batch: bool) -> None:
    for number, command in enumerate(commands):
        verb, place = asked.verb_of(command), f"commands[{number}]." if in_batch else ""
        if not caller.may_use(verb):
            raise Problem("forbidden", f"this key may not use {verb}", f"{place}verb" if in_batch else None)
        if not caller.may_reach(command.namespace):
            field = f"{place}namespace"
            raise Problem("forbidden", f"{field}: this key may not reach {command.namespace}", field)
        closes = isinstance(command, asked.Disconnect | asked.DisconnectRoom) and command.close
        if closes and caller.namespaces is not None:
            field = f"{place}close"
            raise Problem("forbidden", f"{field}: this key may not reach all namespaces", field)


def _only_key(header: str | None, body: str | None) -> str | None:
    if header is not None and body is not None and header != body:
        raise Problem("malformed", "idempotency_key: is another one than in Idempotency-Key", "idempotency_key")
    return body if header is None else header


def _malformed(errors: Any) -> Problem:
    """The first of them, with the name of the field as its sender knows it."""
    error = errors[0]
    place, *parts = error["loc"]
    field = "Idempotency-Key" if place == "header" else _field(parts)
    reason = error["msg"].removeprefix("Value error, ")
    match error["type"]:
        case "json_invalid":
            return Problem("malformed", f"the body is no JSON: {error['ctx']['error']}")
        case "missing" if not field:
            return Problem("malformed", "the body is missing")
        case "model_attributes_type" if not field:
            reason = "must be a JSON object, with Content-Type: application/json"
        case "extra_forbidden":
            reason = "there is no such field"
        case "both" | "of_another":  # an error of the whole, which names one of its fields
            field = _field([*parts, error["ctx"]["field"]])
        case "union_tag_not_found":
            field, reason = f"{field}.verb", "is missing"
        case "union_tag_invalid":
            field = f"{field}.verb"
    return Problem("malformed", f"{field or 'the body'}: {reason}", field)


_OF_A_UNION = frozenset(("float", "int", "constrained-float", "constrained-int"))


def _field(parts: list[str | int]) -> str | None:
    """`commands[3].room`: without what pydantic adds, such as which member of a union it tried."""
    text = ""
    for index, part in enumerate(parts):
        if isinstance(part, int):
            text += f"[{part}]"
        elif not (index and part in _OF_A_UNION) and not (
            part in COMMANDS and index and isinstance(parts[index - 1], int)
        ):
            text += f".{part}" if text else part
    return text or None


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description, without the answers that this API does not give."""
    if app.openapi_schema is None:
        schema = get_openapi(title=TITLE, version="1", routes=app.routes)
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        app.openapi_schema = schema
    return app.openapi_schema
