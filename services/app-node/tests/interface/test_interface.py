"""The public interface beside python-socketio's: every name, every signature."""

import asyncio
import gc
import inspect
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import socketio

from app_node import ClusterServer, Config, get_client
from sio_cluster.protocol.errors import ConfigError

OURS = {
    "all_rooms", "answers", "application", "call_many", "call_server", "client", "clients", "close_connection",
    "config", "count", "disconnect_room", "emit_server", "enter_rooms", "is_redelivered", "iter_clients", "leave_rooms",
    "node", "on_server", "on_start", "presence", "serve", "start", "was_recovered",
}  # fmt: skip


ADDED = {("on", "atomic"), ("emit", "except_room"), ("emit", "volatile")}
"""Arguments by keyword that a method has besides those of python-socketio."""


def public(kind: Any) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def shape(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def test_every_public_name_is_there() -> None:
    assert public(socketio.AsyncServer) <= public(ClusterServer)
    assert public(socketio.AsyncServer()) <= public(get_client())
    assert public(get_client()) - public(socketio.AsyncServer()) == OURS


@pytest.mark.parametrize(
    "name", sorted(n for n in public(socketio.AsyncServer) if n not in ("reason", "reserved_events"))
)
def test_every_method_has_the_same_signature(name: str) -> None:
    theirs, ours = getattr(socketio.AsyncServer, name), getattr(ClusterServer, name)
    assert [one for one in shape(ours) if (name, one[0]) not in ADDED] == shape(theirs)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


def test_a_manager_lacks_what_the_docs_say() -> None:
    """docs/differences.md names each method that is there, and each that is not."""
    text = (Path(__file__).parents[4] / "docs/differences.md").read_text()
    [row] = [line for line in text.splitlines() if line.startswith("| the other parts of `manager` |")]
    there, _, lacking = row.partition("Whatever else")
    theirs, ours = socketio.AsyncManager, get_client().manager
    for name in public(theirs):
        if hasattr(ours, name):
            assert f"`{name}`" in there or name in ("initialize", "set_server")
            method = shape(getattr(type(ours), name))
            assert [one for one in method if (name, one[0]) not in ADDED] == shape(getattr(theirs, name))
        else:
            assert f"`{name}`" in lacking or name.startswith("basic_")


def test_attributes() -> None:
    theirs, ours = socketio.AsyncServer(), get_client()
    for name in ("reason", "reserved_events", "async_handlers", "always_connect", "namespaces", "handlers"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.is_asyncio_based()
    assert isinstance(ours, socketio.AsyncServer)


def test_options() -> None:
    sio = get_client(Config(LANES=3), async_handlers=False, namespaces=["/a"], logger=True, always_connect=True)
    assert (sio.config.lanes, sio.async_handlers, sio.namespaces, sio.always_connect) == (3, False, ["/a"], True)
    assert get_client({"LANES": 5}).config.lanes == 5
    with pytest.warns(
        UserWarning, match="ping_interval has no effect on an app-node: give the io-nodes PING_INTERVAL_MS"
    ):
        get_client(ping_interval=5)
    with pytest.warns(UserWarning, match="async_mode has no effect on an app-node: it can go"):
        get_client(async_mode="asgi")
    with pytest.raises(TypeError, match="unknown option pong"):
        get_client(pong=1)
    with pytest.raises(TypeError, match="client_manager"):
        get_client(client_manager=object())
    with pytest.raises(TypeError, match="serializer"):
        get_client(serializer="msgpack")
    with pytest.raises(ConfigError, match="LANES"):
        get_client({"LANES": 0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_client()


async def test_what_lives_elsewhere_says_where() -> None:
    sio = get_client()
    with pytest.raises(RuntimeError, match=r"io_node\.listen"):
        sio.attach(object())
    with pytest.raises(RuntimeError, match=r"io_node\.listen"):
        await sio.handle_request({})


async def test_background_tasks() -> None:
    sio = get_client()

    async def work(value: int, *, more: int) -> int:
        await sio.sleep(0)
        return value + more

    assert await sio.start_background_task(work, 1, more=2) == 3
    await sio.shutdown()


async def test_a_background_task_that_only_waits_is_not_collected() -> None:
    sio = get_client()
    wake: weakref.ref[asyncio.Future[str]] | None = None

    async def wait() -> str:
        nonlocal wake
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        wake = weakref.ref(future)  # like a future that only a connection knows, which only the task knows
        return await future

    task = weakref.ref(sio.start_background_task(wait))
    await asyncio.sleep(0)
    gc.collect()
    waiting, future = task(), wake() if wake is not None else None
    assert waiting is not None
    assert future is not None
    future.set_result("done")
    assert await waiting == "done"


async def test_what_runs_at_the_start(stage: Any) -> None:
    sio = stage.server()
    ran: list[Any] = []

    @sio.on_start
    async def begin() -> None:
        ran.append(len(sio.node.keeper.held))
        sio.start_background_task(tick)

    async def tick() -> None:
        ran.append("tick")

    async with sio:
        await sio.sleep(0)
    async with sio:
        await sio.sleep(0)
    assert ran == [0, "tick", 0, "tick"]

    @sio.on_start
    def fail() -> None:
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"):
        await sio.start()
    await sio.shutdown()
