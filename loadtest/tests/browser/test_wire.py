"""On the wire a simulated browser does what the official JavaScript client does: both take the same steps."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from loadtest.tests.browser.clients import KINDS, official, simulated
from loadtest.tests.browser.recording_server import RecordingServer, Request

pytestmark = pytest.mark.slow

OPTIONS = {"namespace": "/loadtest", "auth": {"token": "t"}, "reconnection_delay_s": 0.05}
STEPS: list[list[Any]] = [
    ["connect"],
    ["emit", "say", 1, "ü", {"deep": [None, True]}],
    ["await", "events", 1],
    ["call", "echo", "first"],
    ["call", "echo", "second", 2],
    ["emit", "drop"],
    ["await", "disconnects", 1],
    ["await", "connects", 2],
    ["call", "echo", "again"],
    ["close"],
]
OWN_HEADERS = {
    "user-agent",
    "accept",
    "accept-language",
    "accept-encoding",
    "referer",
    "origin",
    "pragma",
    "cache-control",
}
"""What browsers send, and Node does not."""


def transcript(server: RecordingServer) -> dict[str, Any]:
    """What was sent, without what differs from run to run: sids, time stamps, the number of polls."""
    return {
        "requests": sorted({_shape(request) for request in server.requests}),
        "sessions": sum("sid" not in request.query for request in server.requests),
        "packets": server.packets,
        "by polling": [packet for request in server.requests for packet in request.packets],
        "websockets": server.frames,
    }


def _shape(request: Request) -> tuple[str, ...]:
    query = {name: "*" if name in ("t", "sid") else value for name, value in request.query.items()}
    cookie = request.headers.get("cookie", "")
    return (request.kind, request.path, str(query), request.headers.get("Content-Type", ""), cookie)


def headers_by_kind(server: RecordingServer) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for request in server.requests:
        kinds.setdefault(request.kind, set()).update(name.lower() for name in request.headers)
    return kinds


Client = Callable[[str, dict[str, Any], list[list[Any]]], Awaitable[dict[str, Any]]]
Told = tuple[dict[str, Any], dict[str, Any], dict[str, set[str]]]


async def each(client: Client, options: dict[str, Any], steps: list[list[Any]]) -> Told:
    """What one client says of these steps, what its server saw, and the headers that it sent."""
    async with RecordingServer.run() as server:
        story = await client(server.url, options, steps)
        return story, transcript(server), headers_by_kind(server)


async def both(options: dict[str, Any], steps: list[list[Any]]) -> tuple[Told, Told]:
    """The official client's, then ours; each has a server of its own, so that they run at the same time."""
    return await asyncio.gather(each(official, options, steps), each(simulated, options, steps))


@pytest.mark.parametrize("kind", KINDS)
async def test_sends_what_the_official_client_sends(kind: str) -> None:
    (theirs, reference, reference_headers), (ours, sent, headers) = await both(OPTIONS | {"transport": kind}, STEPS)
    assert sent == reference
    assert ours["acks"] == theirs["acks"] == [["first"], ["second", 2], ["again"]]
    assert ours["disconnects"] == theirs["disconnects"]
    for what, names in reference_headers.items():
        assert names <= headers[what] | {"cookie"}
        assert headers[what] - names <= OWN_HEADERS | {"connection", "cookie"}
        assert {"origin", "user-agent", "accept-language"} <= headers[what]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["kick", "goodbye"])
async def test_ends_as_the_official_client_does(kind: str, end: str) -> None:
    """A DISCONNECT is final; after an orderly end of the transport it comes back."""
    steps: list[list[Any]] = [["connect"], ["emit", end], ["await", "disconnects", 1], ["pause", 0.3]]
    (theirs, reference, _), (ours, sent, _) = await both(OPTIONS | {"transport": kind}, steps)
    assert sent == reference
    assert ours["disconnects"] == theirs["disconnects"]
    assert len(ours["connects"]) == len(theirs["connects"]) == (1 if end == "kick" else 2)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_is_final(kind: str) -> None:
    options = OPTIONS | {"transport": kind, "namespace": "/refusing"}
    (_, reference, _), (ours, sent, _) = await asyncio.gather(
        each(official, options, [["open"], ["await", "errors", 1], ["pause", 0.3]]),
        each(simulated, options, [["connect"], ["pause", 0.3]]),
    )
    assert ours["raised"][0][0] == "ConnectFailed"
    assert sent == reference


@pytest.mark.parametrize("offset", [["offset-1"], []])
async def test_asks_for_recovery_as_the_official_client_does(offset: list[str]) -> None:
    """It sends the server's pid, and the offset of the last event that had one."""
    options = OPTIONS | {"transport": "websocket", "namespace": "/recovering"}
    steps: list[list[Any]] = [["connect"], ["emit", "say", 1, *offset], ["emit", "say", 2], ["await", "events", 2]]
    steps += [["emit", "drop"], ["await", "connects", 2], ["close"]]
    (_, reference, _), (_, sent, _) = await both(options, steps)
    assert sent == reference
    assert '"pid":"p"' in reference["packets"][4]
