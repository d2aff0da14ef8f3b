"""The chat's handlers. They are ordinary python-socketio code, so plain python-socketio runs them here."""

import asyncio
import importlib.util
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import socketio
import uvicorn
from socketio.exceptions import ConnectionError as RefusedError

pytestmark = pytest.mark.slow

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
WAIT_S = 5


class Client:
    """A client that keeps every event that it gets."""

    def __init__(self) -> None:
        self.io = socketio.AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.io.on("*", self._hear)

    async def _hear(self, event: str, data: Any) -> None:
        await self.heard.put((event, data))

    async def next(self, event: str) -> Any:
        """Waits for the next event of that name. Returns its data, and skips other events."""
        async with asyncio.timeout(WAIT_S):
            while True:
                name, data = await self.heard.get()
                if name == event:
                    return data

    async def ask(self, event: str, data: Any = None) -> Any:
        return await self.io.call(event, data, timeout=WAIT_S)


NewClient = Callable[..., Awaitable[Client]]


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    stand_in = ModuleType("app_node")
    stand_in.get_client = lambda **options: socketio.AsyncServer(async_mode="asgi", **options)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "app_node", stand_in)
    spec = importlib.util.spec_from_file_location("chat_app", Path(__file__).parents[1] / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def join(chat: ModuleType) -> AsyncIterator[NewClient]:
    """Connects a client of that name, and lets it into a room."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(socketio.ASGIApp(chat.sio), log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))

    async with AsyncExitStack() as stack:

        async def join_one(name: Any, room: str | None = "lobby") -> Client:
            client = Client()
            await client.io.connect(url, auth={"name": name}, transports=["websocket"], wait_timeout=WAIT_S)
            stack.push_async_callback(client.io.disconnect)
            if room:
                assert "error" not in await client.ask("join", {"room": room})
            return client

        yield join_one
    server.should_exit = True
    await serving


def text(words: str, room: str = "lobby", number: int = 1) -> dict[str, Any]:
    return {"id": f"message-{number}", "room": room, "text": words}


async def test_a_message_goes_to_the_others_in_the_room_and_is_answered(join: NewClient) -> None:
    ada, grace = await join("Ada"), await join(" Grace \u00a0 Hopper ")
    answer = await grace.ask("message", text("Hello"))
    heard = await ada.next("message")
    assert (heard["text"], heard["name"], heard["room"]) == ("Hello", "Grace Hopper", "lobby")
    assert heard["at"] == answer["at"]
    assert answer["app_node"]
    await grace.ask("pulse")
    assert grace.heard.empty()


async def test_a_receipt_goes_to_the_author(join: NewClient) -> None:
    ada, grace = await join("Ada"), await join("Grace")
    await ada.ask("message", text("Hello"))
    heard = await grace.next("message")
    await grace.ask("received", {"id": heard["id"], "to": heard["sid"]})
    assert await ada.next("delivered") == {"id": "message-1", "by": grace.io.get_sid()}


async def test_people_learn_of_each_other_and_of_a_departure(join: NewClient) -> None:
    ada, grace = await join("Ada"), await join("Grace")
    await grace.ask("presence", {"room": "lobby", "new": True})
    news = await ada.next("presence")
    assert news == {"room": "lobby", "sid": grace.io.get_sid(), "name": "Grace", "state": "here", "new": True}
    await ada.ask("presence", {"room": "lobby", "state": "away", "to": news["sid"], "new": True})
    news = await grace.next("presence")
    assert (news["name"], news["state"], news["new"]) == ("Ada", "away", False)
    sid = grace.io.get_sid()
    await grace.io.disconnect()
    assert await ada.next("left") == {"room": "lobby", "sid": sid}


async def test_an_image_arrives_with_the_type_that_it_has(join: NewClient) -> None:
    ada, grace = await join("Ada"), await join("Grace")
    await ada.ask(
        "message", {"id": "an-image", "room": "lobby", "image": PNG, "width": 3, "height": 4, "mime": "text/html"}
    )
    heard = await grace.next("message")
    assert (heard["image"], heard["mime"], heard["width"], heard["height"]) == (PNG, "image/png", 3, 4)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("message", None),
        ("message", ["Hello"]),
        ("message", {"id": "message-1", "room": "lobby", "text": "x" * 2001}),
        ("message", {"id": "message-1", "room": "lobby", "text": 5}),
        ("message", {"id": "message-1", "room": "lobby", "text": " \n "}),
        ("message", {"id": "a b", "room": "lobby", "text": "Hello"}),
        ("message", {"id": "message-1", "room": "elsewhere", "text": "Hello"}),
        ("message", {"id": "message-1", "room": "lobby", "image": b"<svg onload=alert(1)>"}),
        ("message", {"id": "message-1", "room": "lobby", "image": "iVBORw0KGgo="}),
        ("message", {"id": "message-1", "room": "lobby", "image": PNG + bytes(700_000)}),
        ("message", {"id": "message-1", "room": "lobby", "image": PNG, "width": -1}),
        ("join", {"room": "a room"}),
        ("join", {"room": "x" * 33}),
        ("join", {"room": "lobby\n"}),
        ("presence", {"room": "elsewhere"}),
        ("presence", {"room": "lobby", "state": "<b>"}),
        ("presence", {"room": "lobby", "to": "room:elsewhere"}),
        ("received", {"id": "message-1", "to": "room:lobby"}),
    ],
)
async def test_what_is_not_right_is_answered_and_goes_no_further(join: NewClient, event: str, data: Any) -> None:
    ada, grace = await join("Ada"), await join("Grace")
    assert "error" in await grace.ask(event, data)
    await grace.ask("message", text("Next", number=2))
    assert (await ada.heard.get())[1]["text"] == "Next"


@pytest.mark.parametrize("name", ["", "   ", "x" * 33, "a\nb", 5, None, ["Ada"]])
async def test_what_is_not_a_name_is_refused(join: NewClient, name: Any) -> None:
    with pytest.raises(RefusedError):
        await join(name)


async def test_nobody_is_in_more_than_twenty_rooms(join: NewClient) -> None:
    ada = await join("Ada", None)
    answers = [await ada.ask("join", {"room": f"room-{number}"}) for number in range(21)]
    assert ["error" in answer for answer in answers] == [False] * 20 + [True]


async def test_a_client_that_outlived_the_application_hears_of_it(chat: ModuleType, join: NewClient) -> None:
    ada = await join("Ada")
    await chat.connect(ada.io.get_sid(), {}, {"name": "Ada"}, is_reconnect=True)
    assert await ada.next("restarted") == {"app_node": chat.APP_NODE}
    assert "error" not in await ada.ask("message", text("Hello")), "its session is as it was"
