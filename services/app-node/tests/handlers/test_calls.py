"""Calling handlers: how often, and with which arguments where the signature does not tell."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import socketio

from app_node.handlers.calls import call_connect, call_disconnect
from app_node.handlers.signatures import read_signature
from sio_cluster.protocol.messages import Ack

calls: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


def with_database(handler: Any) -> Any:
    """Adds an argument in front of all that come."""

    @functools.wraps(handler)
    async def wrapper(*args: Any) -> Any:
        return await handler("db", *args)

    return wrapper


def logged(handler: Any) -> Any:
    """Without `functools.wraps`."""

    def wrapper(*args: Any, **keywords: Any) -> Any:
        return handler(*args, **keywords)

    return wrapper


async def connect(handler: Any, auth: Any = None) -> Any:
    return await call_connect(
        handler, read_signature(handler), ("s",), "e", auth, {"is_reconnect": False, "is_recovered": False}
    )


async def disconnect(handler: Any) -> Any:
    return await call_disconnect(handler, read_signature(handler), ("s",), "r")


async def three(db: str, sid: str, environ: Any) -> None:
    calls.append((db, sid, environ))


async def four(db: str, sid: str, environ: Any, auth: Any) -> None:
    calls.append((db, sid, environ, auth))


async def breaks(db: str, sid: str, environ: Any, auth: Any) -> None:
    calls.append(sid)
    raise TypeError("in the handler")


async def breaks_without_auth(db: str, sid: str, environ: Any) -> None:
    calls.append(sid)
    raise TypeError("in the handler")


async def test_any_arguments_are_those_of_python_socketio() -> None:
    await connect(with_database(four), {"name": "ann"})
    await connect(with_database(four))
    assert calls == [("db", "s", "e", {"name": "ann"}), ("db", "s", "e", None)]


async def test_where_no_auth_was_sent_it_is_left_out_if_the_function_inside_does_not_take_it() -> None:
    await connect(with_database(three))
    await connect(with_database(logged(three)))
    assert calls == [("db", "s", "e")] * 2


async def test_what_looks_at_auth_cannot_be_got_around() -> None:
    """A client that sends something odd must not be handled as one that sends nothing."""
    with pytest.raises(TypeError, match="4 were given"):
        await connect(with_database(three), {"name": "ann"})

    def looks(*args: Any) -> None:
        calls.append(len(args))
        if len(args) > 2:
            args[2]["token"]

    with pytest.raises(TypeError):
        await connect(looks, ["no dict"])
    assert calls == [3]


@pytest.mark.parametrize("handler", [with_database(breaks), with_database(breaks_without_auth)])
async def test_a_handler_that_began_runs_once(handler: Any) -> None:
    with pytest.raises(TypeError, match="in the handler"):
        await connect(handler)
    assert len(calls) == 1


async def test_the_first_refusal_is_told() -> None:
    async def five(db: str, sid: str, environ: Any, auth: Any, more: Any) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'more'"):
        await connect(with_database(five))


async def test_disconnect() -> None:
    async def old(db: str, sid: str) -> None:
        calls.append((db, sid))

    async def new(db: str, sid: str, reason: str) -> None:
        calls.append((db, sid, reason))

    await disconnect(with_database(old))
    await disconnect(with_database(new))
    await disconnect(lambda sid: calls.append((sid,)))
    await disconnect(lambda sid, reason: calls.append((sid, reason)))
    await disconnect(lambda *args: calls.append(args))
    assert calls == [("db", "s"), ("db", "s", "r"), ("s",), ("s", "r"), ("s", "r")]


def plain_coroutine(sid: str) -> Awaitable[str]:
    async def work() -> str:
        return sid

    return work()


class Later:
    def __await__(self) -> Any:
        yield
        return "later"


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        (plain_coroutine, None),
        (lambda sid: Later(), "later"),
        (functools.partial(lambda extra, sid: plain_coroutine(sid), "x"), None),
        (staticmethod(plain_coroutine), None),
    ],
)
async def test_an_async_answer_behind_a_plain_function(
    memory_stage: Any, handler: Callable[..., Any], answer: str | None
) -> None:
    sio = memory_stage.server()
    sio.on("ask", handler)
    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "ask", ack_id=1)
    [ack] = await io.wait(1, Ack)
    assert ack.packet == b'31["%s"]' % (answer or sid).encode()


async def test_a_logging_decorator_around_connect_keeps_is_reconnect(memory_stage: Any, kill: Any) -> None:
    seen: list[Any] = []

    def log(handler: Any) -> Any:
        @functools.wraps(handler)
        async def wrapper(*args: Any, **keywords: Any) -> Any:
            return await handler(*args, **keywords)

        return wrapper

    def app() -> Any:
        sio = memory_stage.echo_server()

        @sio.event
        @log
        async def connect(sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
            seen.append((auth, is_reconnect))

        return sio

    io = await memory_stage.io_node()
    first = app()
    await first.start()
    sid = await io.connect(auth={"name": "ann"})
    await io.settle()
    await kill(first)
    await app().start()
    await io.event(sid, "echo", 1, ack_id=1)
    await io.wait(1, Ack)
    assert seen == [({"name": "ann"}, False), ({"name": "ann"}, True)]


async def test_a_class_with_its_own_trigger_event_gets_no_keywords(memory_stage: Any) -> None:
    """python-socketio's `trigger_event(event, *args)` takes none."""
    sio = memory_stage.server()
    seen: list[Any] = []

    class Checked(socketio.AsyncNamespace):  # type: ignore[misc]
        async def trigger_event(self, event: str, *args: Any) -> Any:
            return await super().trigger_event(event, *args)

        async def on_connect(self, sid: str, environ: Any, *, is_reconnect: bool = False) -> None:
            seen.append("connect")

        async def on_say(self, sid: str, text: str, is_redelivered: bool = False) -> str:
            return text

        async def on_disconnect(self, sid: str) -> None:
            seen.append("disconnect")

    sio.register_namespace(Checked("/checked"))
    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect("/checked")
    await io.event(sid, "say", "hello", ack_id=1)
    [ack] = await io.wait(1, Ack)
    assert ack.packet == b'3/checked,1["hello"]'
    await io.disconnect(sid)
    await io.settle()
    assert seen == ["connect", "disconnect"]


def as_user(method: Any) -> Any:
    """Of a class: gives a user instead of environ and auth."""

    @functools.wraps(method)
    async def wrapper(self: Any, sid: str, environ: Any, auth: Any) -> Any:
        return await method(self, sid, (auth or {}).get("name", "nobody"))

    return wrapper


def counted(method: Any) -> Any:
    """Of a class: passes on what comes."""

    @functools.wraps(method)
    async def wrapper(self: Any, *args: Any, **keywords: Any) -> Any:
        calls.append(len(args))
        return await method(self, *args, **keywords)

    return wrapper


async def test_decorated_methods_of_a_namespace_class(memory_stage: Any) -> None:
    sio = memory_stage.server()

    class Users(socketio.AsyncNamespace):  # type: ignore[misc]
        @as_user
        async def on_connect(self, sid: str, user: str) -> None:
            calls.append(user)

        @counted
        async def on_say(self, sid: str, text: str, is_redelivered: bool) -> str:
            return f"{text} {is_redelivered}"

        @counted
        async def on_disconnect(self, sid: str) -> None:
            calls.append("gone")

    class Legacy(socketio.AsyncNamespace):  # type: ignore[misc]
        @counted
        async def on_connect(self, sid: str, environ: Any) -> None:
            calls.append("legacy")

    sio.register_namespace(Users("/users"))
    sio.register_namespace(Legacy("/legacy"))
    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect("/users", {"name": "ann"})
    await io.event(sid, "say", "hello", ack_id=1)
    [ack] = await io.wait(1, Ack)
    assert ack.packet == b'3/users,1["hello False"]'
    await io.disconnect(sid)
    await io.settle()
    await io.connect("/legacy")
    assert calls == ["ann", 2, 2, 1, "gone", 3, 2, "legacy"]
