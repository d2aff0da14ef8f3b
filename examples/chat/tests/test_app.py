"""The chat's handlers, on a cluster of processes: who is in a room, only a cluster knows."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionError as RefusedError
from tests.conftest import BackgroundStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
WAIT_S = 30
ENV = {"LEASE_MS": "1000", "DRAIN_MS": "200", "LOG_FORMAT": "json"}

numbers = itertools.count()


class Client:
    """A client that keeps every event that it gets."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.io = socketio.AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.shown: dict[str, tuple[str, str]] = {}
        self.io.on("*", self._hear)

    async def _hear(self, event: str, data: Any, *_: Any) -> None:
        await self.heard.put((event, data))

    async def next(self, event: str) -> Any:
        """Waits for the next event of that name. Returns its data, and skips other events."""
        return (await self.until(event))[-1][1]

    async def until(self, event: str) -> list[tuple[str, Any]]:
        """All events up to the next one of that name."""
        heard: list[tuple[str, Any]] = []
        async with asyncio.timeout(WAIT_S):
            while not heard or heard[-1][0] != event:
                heard.append(await self._take())
        return heard

    async def sees(self, **expected: list[str]) -> None:
        """Waits until these people are in the room, with these states of their windows."""
        async with asyncio.timeout(WAIT_S):
            while by_name(self.shown) != expected:
                await self._take()

    async def _take(self) -> tuple[str, Any]:
        event, content = await self.heard.get()
        if event == "presence_state":
            self.shown = by_ref(content)
        elif event == "presence_diff":
            self.shown |= by_ref(content["joins"])
            for ref in by_ref(content["leaves"]):
                self.shown.pop(ref, None)
        return event, content

    async def ask(self, event: str, data: Any = None) -> Any:
        return await self.io.call(event, data, timeout=WAIT_S)

    def text(self, words: str, number: int = 1) -> dict[str, Any]:
        return {"id": f"message-{number}", "room": self.room, "text": words}


def by_ref(content: Any) -> dict[str, tuple[str, str]]:
    return {meta["phx_ref"]: (name, meta["state"]) for name, shown in content.items() for meta in shown["metas"]}


def by_name(shown: dict[str, tuple[str, str]]) -> dict[str, list[str]]:
    people: dict[str, list[str]] = {}
    for name, state in sorted(shown.values()):
        people.setdefault(name, []).append(state)
    return people


NewClient = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[BackgroundStack]:
    with BackgroundStack(io_nodes=1, app_nodes=1, port=0, env=ENV) as cluster:
        yield cluster
    assert cluster.errors == []


@pytest.fixture
async def join(cluster: BackgroundStack) -> AsyncIterator[NewClient]:
    """Connects a client of that name, and lets it into the room of this test."""
    room = f"room-of-test-{next(numbers)}"
    async with AsyncExitStack() as stack:

        async def join_one(name: Any, *, joins: bool = True) -> Client:
            client = Client(room)
            await client.io.connect(
                cluster.stack.url, auth={"name": name}, transports=["websocket"], wait_timeout=WAIT_S
            )
            stack.push_async_callback(client.io.disconnect)
            if joins:
                assert "error" not in await client.ask("join", {"room": room})
            return client

        yield join_one


async def test_a_message_goes_to_the_others_in_the_room_and_is_answered(join: NewClient) -> None:
    ada, grace = await join("Ada"), await join(" Grace \u00a0 Hopper ")
    answer = await grace.ask("message", grace.text("Hello"))
    heard = await ada.next("message")
    assert (heard["text"], heard["name"], heard["room"]) == ("Hello", "Grace Hopper", ada.room)
    assert heard["at"] == answer["at"]
    assert answer["app_node"]
    await ada.ask("message", ada.text("Back"))
    assert (await grace.next("message"))["text"] == "Back", "nobody hears their own"


async def test_a_receipt_goes_to_the_author(join: NewClient) -> None:
    ada, grace = await join("Ada"), await join("Grace")
    await ada.ask("message", ada.text("Hello"))
    heard = await grace.next("message")
    await grace.ask("received", {"id": heard["id"], "to": heard["sid"]})
    assert await ada.next("delivered") == {"id": "message-1", "by": grace.io.get_sid()}


async def test_people_see_who_is_there_who_comes_and_who_goes(join: NewClient) -> None:
    ada = await join("Ada")
    grace, second = await join("Grace"), await join("Grace")
    for client in (ada, grace, second):
        await client.sees(Ada=["here"], Grace=["here", "here"])
    await second.ask("look", {"state": "away"})
    await ada.sees(Ada=["here"], Grace=["away", "here"])
    await second.io.disconnect()
    await ada.sees(Ada=["here"], Grace=["here"])
    await grace.io.disconnect()
    await ada.sees(Ada=["here"])


async def test_to_join_again_shows_the_same(join: NewClient) -> None:
    """A page does so when it has come back."""
    ada, grace = await join("Ada"), await join("Grace")
    await ada.sees(Ada=["here"], Grace=["here"])
    await grace.ask("join", {"room": grace.room})
    await grace.sees(Ada=["here"], Grace=["here"])
    await grace.ask("message", grace.text("I am back"))
    assert [event for event, _ in await ada.until("message")] == ["message"]


async def test_typing_is_told_to_the_others(join: NewClient) -> None:
    ada, grace = await join("Ada"), await join("Grace")
    await grace.ask("typing", {"room": grace.room, "typing": True})
    assert await ada.next("typing") == {"room": ada.room, "name": "Grace", "typing": True}


async def test_who_asks_for_the_count_is_counted(join: NewClient) -> None:
    clients = [await join(name) for name in ("Ada", "Grace", "Hedy")]
    assert (await clients[-1].ask("count"))["clients"] >= 3


async def test_an_image_arrives_with_the_type_that_it_has(join: NewClient) -> None:
    ada, grace = await join("Ada"), await join("Grace")
    await ada.ask(
        "message", {"id": "an-image", "room": ada.room, "image": PNG, "width": 3, "height": 4, "mime": "text/html"}
    )
    heard = await grace.next("message")
    assert (heard["image"], heard["mime"], heard["width"], heard["height"]) == (PNG, "image/png", 3, 4)


ROOM = "the room of the test"


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("message", None),
        ("message", ["Hello"]),
        ("message", {"id": "message-1", "room": ROOM, "text": "x" * 2001}),
        ("message", {"id": "message-1", "room": ROOM, "text": 5}),
        ("message", {"id": "message-1", "room": ROOM, "text": " \n "}),
        ("message", {"id": "a b", "room": ROOM, "text": "Hello"}),
        ("message", {"id": "message-1", "room": "elsewhere", "text": "Hello"}),
        ("message", {"id": "message-1", "room": ROOM, "image": b"<svg onload=alert(1)>"}),
        ("message", {"id": "message-1", "room": ROOM, "image": "iVBORw0KGgo="}),
        ("message", {"id": "message-1", "room": ROOM, "image": PNG + bytes(700_000)}),
        ("message", {"id": "message-1", "room": ROOM, "image": PNG, "width": -1}),
        ("join", {"room": "a room"}),
        ("join", {"room": "x" * 33}),
        ("join", {"room": "lobby\n"}),
        ("join", {"room": "lobby", "state": "<b>"}),
        ("look", {"state": "typing"}),
        ("look", None),
        ("typing", {"room": "elsewhere", "typing": True}),
        ("typing", {"room": ROOM, "typing": "yes"}),
        ("received", {"id": "message-1", "to": "room:lobby"}),
    ],
)
async def test_what_is_not_right_is_answered_and_goes_no_further(join: NewClient, event: str, data: Any) -> None:
    ada, grace = await join("Ada"), await join("Grace")
    if isinstance(data, dict) and data.get("room") == ROOM:
        data = {**data, "room": grace.room}
    assert "error" in await grace.ask(event, data)
    await grace.ask("message", grace.text("Next", number=2))
    *before, (_, heard) = await ada.until("message")
    assert heard["text"] == "Next"
    assert {event for event, _ in before} <= {"presence_state", "presence_diff"}


@pytest.mark.parametrize("name", ["", "   ", "x" * 33, "a\nb", 5, None, ["Ada"]])
async def test_what_is_not_a_name_is_refused(join: NewClient, name: Any) -> None:
    with pytest.raises(RefusedError):
        await join(name)


async def test_nobody_is_in_more_than_twenty_rooms(join: NewClient) -> None:
    ada = await join("Ada", joins=False)
    answers = [await ada.ask("join", {"room": f"room-{number}"}) for number in range(21)]
    assert ["error" in answer for answer in answers] == [False] * 20 + [True]


async def test_a_client_that_outlived_the_application_hears_of_it(cluster: BackgroundStack, join: NewClient) -> None:
    ada, grace = await join("Ada"), await join("Grace")
    await ada.sees(Ada=["here"], Grace=["here"])
    before = (await ada.ask("pulse"))["app_node"]
    await cluster.arun(cluster.stack.stop_app_node(0, signal.SIGKILL))
    await cluster.arun(cluster.stack.start_app_node())
    after = (await ada.ask("pulse"))["app_node"]
    assert after != before
    assert await ada.until("restarted") == [("restarted", {"app_node": after})], "nobody came or went"
    assert "error" not in await ada.ask("message", ada.text("Hello")), "its session is as it was"
    assert (await grace.next("message"))["text"] == "Hello"
