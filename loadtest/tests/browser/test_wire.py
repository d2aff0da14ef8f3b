"""On the wire a simulated browser is the official JavaScript client: both do the same, what they sent is compared."""

from typing import Any

import pytest
from loadtest.tests.browser.clients import official, simulated
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
    """What was sent, without what differs from run to run: sids, time stamps, how often was polled."""
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


@pytest.mark.parametrize("kind", ["upgrade", "websocket", "polling"])
async def test_sends_what_the_official_client_sends(kind: str) -> None:
    options = OPTIONS | {"transport": kind}
    async with RecordingServer.run() as server:
        theirs = await official(server.url, options, STEPS)
        reference, reference_headers = transcript(server), headers_by_kind(server)
    async with RecordingServer.run() as server:
        ours = await simulated(server.url, options, STEPS)
        sent, headers = transcript(server), headers_by_kind(server)
    assert sent == reference
    assert ours["acks"] == theirs["acks"] == [["first"], ["second", 2], ["again"]]
    assert ours["disconnects"] == theirs["disconnects"]
    for what, names in reference_headers.items():
        assert names <= headers[what] | {"cookie"}
        assert headers[what] - names <= OWN_HEADERS | {"connection", "cookie"}
        assert {"origin", "user-agent", "accept-language"} <= headers[what]


@pytest.mark.parametrize("kind", ["upgrade", "websocket", "polling"])
@pytest.mark.parametrize("end", ["kick", "goodbye"])
async def test_ends_as_the_official_client_does(kind: str, end: str) -> None:
    """A DISCONNECT is final; after an orderly end of the transport it comes back."""
    steps: list[list[Any]] = [["connect"], ["emit", end], ["await", "disconnects", 1], ["pause", 0.3]]
    options = OPTIONS | {"transport": kind}
    stories, transcripts = [], []
    for client in (official, simulated):
        async with RecordingServer.run() as server:
            stories.append(await client(server.url, options, steps))
            transcripts.append(transcript(server))
    assert transcripts[1] == transcripts[0]
    assert stories[1]["disconnects"] == stories[0]["disconnects"]
    assert len(stories[1]["connects"]) == len(stories[0]["connects"]) == (1 if end == "kick" else 2)


@pytest.mark.parametrize("kind", ["upgrade", "websocket", "polling"])
async def test_a_refusal_is_final(kind: str) -> None:
    options = OPTIONS | {"transport": kind, "namespace": "/refusing"}
    transcripts = []
    for client, steps in (
        (official, [["open"], ["await", "errors", 1], ["pause", 0.3]]),
        (simulated, [["connect"], ["pause", 0.3]]),
    ):
        async with RecordingServer.run() as server:
            story = await client(server.url, options, steps)
            transcripts.append(transcript(server))
    assert story["raised"][0][0] == "ConnectFailed"
    assert transcripts[1] == transcripts[0]


@pytest.mark.parametrize("offset", [["offset-1"], []])
async def test_asks_for_recovery_as_the_official_client_does(offset: list[str]) -> None:
    """With the server's pid, and the offset of the last event that had one."""
    options = OPTIONS | {"transport": "websocket", "namespace": "/recovering"}
    steps: list[list[Any]] = [["connect"], ["emit", "say", 1, *offset], ["emit", "say", 2], ["await", "events", 2]]
    steps += [["emit", "drop"], ["await", "connects", 2], ["close"]]
    transcripts = []
    for client in (official, simulated):
        async with RecordingServer.run() as server:
            await client(server.url, options, steps)
            transcripts.append(transcript(server))
    assert transcripts[1] == transcripts[0]
    assert '"pid":"p"' in transcripts[0]["packets"][4]
