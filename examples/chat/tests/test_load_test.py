"""The handlers of the load test, which exist with LOADTEST=1 only. Plain python-socketio runs them here too."""

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

CHAT = Path(__file__).parents[1]


class Server:
    """A server that writes down which handlers are registered, and what they ask it to do, in order."""

    def __init__(self) -> None:
        self.handlers: dict[tuple[str, str], Any] = {}
        self.asked: list[tuple[Any, ...]] = []

    def on(self, event: str, handler: Any, namespace: str) -> None:
        self.handlers[namespace, event] = handler

    def event(self, handler: Any) -> Any:
        self.on(handler.__name__, handler, "/")
        return handler

    async def enter_room(self, sid: str, room: str, namespace: str) -> None:
        self.asked.append(("enter", sid, room, namespace))

    async def leave_room(self, sid: str, room: str, namespace: str) -> None:
        self.asked.append(("leave", sid, room, namespace))

    async def emit(self, event: str, data: Any, room: str | None = None, namespace: str = "/") -> None:
        self.asked.append((event, data, room, namespace))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setitem(sys.modules, "app_node", SimpleNamespace(get_client=lambda **_: server))
    monkeypatch.delitem(sys.modules, "load_test", raising=False)
    monkeypatch.syspath_prepend(str(CHAT))
    return server


def load_chat() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chat_app_under_load", CHAT / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("value", [None, "0", ""])
def test_it_is_off_unless_asked_for(server: Server, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("LOADTEST", raising=False)
    else:
        monkeypatch.setenv("LOADTEST", value)
    load_chat()
    assert {namespace for namespace, _ in server.handlers} == {"/"}


async def test_its_events_do_what_they_say_then_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADTEST", "1")
    load_chat()

    async def ask(event: str, *arguments: Any) -> Any:
        return await server.handlers["/loadtest", event]("sid", *arguments)

    before = time.time()
    answers = [
        await ask("join", ["1", "2"]),
        await ask("leave", ["1"]),
        await ask("publish", "2", "text"),
        await ask("broadcast", "all"),
        await ask("time"),
    ]
    assert all(before <= answer["now"] <= time.time() for answer in answers)
    assert server.asked == [
        ("enter", "sid", "1", "/loadtest"),
        ("enter", "sid", "2", "/loadtest"),
        ("leave", "sid", "1", "/loadtest"),
        ("d", "text", "2", "/loadtest"),
        ("d", "all", None, "/loadtest"),
    ]
    assert await ask("echo", {"a": [1]}) == {"a": [1]}
