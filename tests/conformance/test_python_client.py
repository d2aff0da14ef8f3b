"""The official Python client, `socketio.AsyncClient`, does what test_js_client.py asks of the JavaScript one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from socketio import AsyncClient as Client
from socketio.exceptions import ConnectionError as ConnectError
from tests.conformance.conftest import Target

pytestmark = pytest.mark.e2e

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
WITHIN_S = 5.0


@pytest.fixture(params=list(TRANSPORTS))
def transports(request: pytest.FixtureRequest) -> list[str]:
    return TRANSPORTS[request.param]


class Inbox:
    """The events of one name that a client got, in order."""

    def __init__(self, client: Client, event: str, namespace: str = "/") -> None:
        self.items: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        client.on(event, lambda *args: self.items.put_nowait(args), namespace=namespace)

    async def next(self) -> tuple[Any, ...]:
        async with asyncio.timeout(WITHIN_S):
            return await self.items.get()

    async def many(self, count: int) -> list[tuple[Any, ...]]:
        return [await self.next() for _ in range(count)]


def new_client(**options: Any) -> Client:
    return Client(reconnection_delay=0.05, reconnection_delay_max=0.2, **options)


@asynccontextmanager
async def connected(
    target: Target, transports: list[str] | None = None, namespaces: list[str] | None = None, **options: Any
) -> AsyncIterator[Client]:
    client = new_client()
    await client.connect(target.url, transports=transports, namespaces=namespaces or ["/"], wait_timeout=5, **options)
    try:
        yield client
    finally:
        await client.disconnect()
        await client.shutdown()


async def acked(client: Client, event: str, *args: Any, namespace: str = "/") -> tuple[Any, ...]:
    """The arguments with which the server acked."""
    answer: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()
    await client.emit(event, args, namespace=namespace, callback=lambda *values: answer.set_result(values))
    async with asyncio.timeout(WITHIN_S):
        return await answer


async def test_connect_and_echo(target: Target, transports: list[str]) -> None:
    async with connected(target, transports) as client:
        assert await acked(client, "echo", "hello") == ("hello",)
        (who,) = await acked(client, "who")
        assert who["sid"] == client.get_sid("/")
        assert client.transport() == transports[-1]


async def test_binary_both_ways(target: Target, transports: list[str]) -> None:
    async with connected(target, transports) as client:
        back = Inbox(client, "message-back")
        value = {"deep": [b"\x00\xff", {"b": b""}], "text": "ü"}
        assert await acked(client, "echo", value) == (value,)
        await client.emit("message", (b"a", 1, b"b"))
        assert await back.next() == (b"a", 1, b"b")


async def test_500_events_in_one_burst_in_order(target: Target, transports: list[str]) -> None:
    async with connected(target, transports) as client:
        back = Inbox(client, "message-back")
        for number in range(500):
            await client.emit("message", number)
        assert await back.many(500) == [(number,) for number in range(500)]


async def test_burst_from_the_server_in_order(target: Target, transports: list[str]) -> None:
    async with connected(target, transports) as client:
        burst = Inbox(client, "burst")
        await client.emit("burst", 500)
        assert await burst.many(500) == [(number,) for number in range(500)]


async def test_several_namespaces_at_their_own_pace(target: Target) -> None:
    client = new_client()
    order: asyncio.Queue[str] = asyncio.Queue()
    for namespace in ("/", "/custom", "/slow"):
        client.on("connect", lambda namespace=namespace: order.put_nowait(namespace), namespace=namespace)
    try:
        await client.connect(
            target.url, namespaces=["/slow", "/", "/custom"], auth={"delay": 1}, wait=True, wait_timeout=5
        )
        arrived = [await order.get() for _ in range(3)]
        assert arrived[-1] == "/slow"
        assert len({client.get_sid(namespace) for namespace in arrived}) == 3
        assert await acked(client, "echo", 1, namespace="/slow") == (1,)
        assert await acked(client, "echo", 2, namespace="/custom") == (2,)
    finally:
        await client.disconnect()


async def test_auth_query_and_headers(target: Target, transports: list[str]) -> None:
    client = new_client()
    auth = {"token": "t", "deep": [1, None]}
    await client.connect(f"{target.url}?room=a%26b", headers={"X-Wish": "yes"}, auth=auth, transports=transports)
    try:
        (who,) = await acked(client, "who")
        assert who["auth"] == auth
        assert who["query"]["room"] == "a&b"
        assert who["headers"]["HTTP_X_WISH"] == "yes"
    finally:
        await client.disconnect()


@pytest.mark.parametrize("args", [(), (1,), (1, 2), (None,), (None, None), ([],), ([1, 2],)])
async def test_acks_keep_their_arguments(target: Target, args: tuple[Any, ...]) -> None:
    async with connected(target) as client:
        assert await acked(client, "echo", *args) == args
        told = Inbox(client, "answered")
        client.on("question", lambda *question: args)
        await client.emit("ask", "why")
        assert await told.next() == (len(args), list(args))


async def test_call_and_its_timeout(target: Target) -> None:
    async with connected(target) as client:
        client.on("question", lambda number: number + 1)
        assert await acked(client, "call", 3, 41) == ("answer", 42)

    async with connected(target) as silent:

        async def think(number: int) -> int:
            await asyncio.sleep(1)
            return number

        silent.on("question", think)
        assert await acked(silent, "call", 0.2, 41) == ("timeout",)


async def test_rooms_mixed_transports_and_binary(target: Target) -> None:
    a, b = uuid4().hex, uuid4().hex
    async with (
        connected(target, TRANSPORTS["polling"]) as one,
        connected(target, TRANSPORTS["websocket"]) as two,
        connected(target, TRANSPORTS["upgrade"]) as outside,
    ):
        inboxes = [Inbox(client, "told") for client in (one, two, outside)]
        assert await acked(one, "join", [a, b]) == (sorted([a, b]),)
        assert await acked(two, "join", [b]) == ([b],)
        await outside.emit("tell", ([a, b], [], {"bytes": b"\x00\xff"}))
        await outside.emit("tell", ([a, b], [one.get_sid("/")], "not one"))
        await outside.emit("tell", ([a, b], [], "end"))
        assert [await inboxes[0].next(), await inboxes[0].next()] == [({"bytes": b"\x00\xff"},), ("end",)]
        assert await inboxes[1].many(3) == [({"bytes": b"\x00\xff"},), ("not one",), ("end",)]
        await acked(outside, "echo")
        assert inboxes[2].items.empty()


async def test_refusal_with_data(target: Target, transports: list[str]) -> None:
    client = new_client()
    refused = Inbox(client, "connect_error", "/refusing")
    with pytest.raises(ConnectError):
        await client.connect(target.url, namespaces=["/refusing"], transports=transports, wait_timeout=5)
    assert await refused.next() == ({"message": "no entry", "data": {"code": 7}},)
    await client.disconnect()


async def test_invalid_namespace(target: Target) -> None:
    client = new_client()
    refused = Inbox(client, "connect_error", "/nobody")
    with pytest.raises(ConnectError):
        await client.connect(target.url, namespaces=["/nobody"], wait_timeout=5)
    assert await refused.next() == ({"message": "Invalid namespace"},)
    await client.disconnect()


async def test_server_side_disconnect_of_one_namespace(target: Target, transports: list[str]) -> None:
    async with connected(target, transports, ["/", "/custom"]) as client:
        gone = Inbox(client, "disconnect", "/custom")
        await client.emit("leave_namespace", namespace="/custom")
        await gone.next()
        assert await acked(client, "echo", 1) == (1,)


async def test_server_side_close_of_the_connection(target: Target, transports: list[str]) -> None:
    client = Client(reconnection=False)
    await client.connect(target.url, transports=transports, wait_timeout=5)
    gone = Inbox(client, "disconnect")
    await client.emit("hang_up")
    await gone.next()
    assert not client.connected
    await client.disconnect()


async def test_reconnection(target: Target) -> None:
    async with connected(target, TRANSPORTS["websocket"]) as client:
        before = client.get_sid("/")
        back = Inbox(client, "connect")
        await client.eio.ws.close()  # the transport dies, nobody said goodbye
        await back.next()
        assert client.get_sid("/") != before
        assert await acked(client, "echo", 1) == (1,)


async def test_polling_survives_heartbeats(target: Target) -> None:
    async with connected(target, TRANSPORTS["polling"]) as client:
        gone = Inbox(client, "disconnect")
        assert await acked(client, "wait", 2.5, "still here") == ("still here",)
        assert gone.items.empty()
