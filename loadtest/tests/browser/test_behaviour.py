"""What a simulated browser does when things take longer or go wrong, with a server that misbehaves on request."""

import json
import ssl
import time
from typing import Any

import pytest
from loadtest.tests.browser.clients import HERE, KINDS, simulated
from loadtest.tests.browser.recording_server import RecordingServer

from sio_stack.settings import free_ports

pytestmark = pytest.mark.slow

Steps = list[list[Any]]
OPTIONS: dict[str, Any] = {"namespace": "/loadtest", "reconnection_delay_s": 0.05}
CERTIFICATE = HERE / "localhost.pem"
JOIN = "40/loadtest,"


def said(story: dict[str, Any]) -> list[Any]:
    """The first argument of each event."""
    return [json.loads(event.partition(",")[2])[1] for event in story["events"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_order_is_kept_around_an_upgrade(kind: str) -> None:
    async with RecordingServer.run() as server:
        server.probe_after_s = server.noop_after_s = 0.1  # so that much is emitted before and while it upgrades
        steps: Steps = [["connect_emitting", "say"], ["call", "echo", 1]]
        story = await simulated(server.url, OPTIONS | {"transport": kind}, steps)
    sent = story["acks"][0]
    assert server.packets[1 : sent + 1] == [f'42/loadtest,["say",{number}]' for number in range(sent)]
    assert said(story) == list(range(sent))
    assert story["transports"] == ["polling" if kind == "polling" else "websocket"]
    if kind == "upgrade":
        assert sent >= 20
        assert any(packet.startswith("42") for request in server.requests for packet in request.packets)
        assert server.frames[0][:2] == ["2probe", "5"]


@pytest.mark.parametrize("kind", KINDS)
async def test_pings_are_answered_and_missed(kind: str) -> None:
    options = OPTIONS | {"transport": kind}
    async with RecordingServer.run(ping_interval_ms=100, ping_timeout_ms=300) as server:
        started = time.monotonic()
        steps: Steps = [
            ["connect"],
            ["pause", 1],
            ["emit", "fall_silent"],
            ["await", "disconnects", 1],
            ["await", "connects", 2],
        ]
        story = await simulated(server.url, options, steps)
        took = time.monotonic() - started
    assert story["disconnects"] == ["ping timeout"]
    assert [connect["reconnect"] for connect in story["connects"]] == [False, True]
    assert server.packets.count("3") >= 5
    assert took > 1.2


async def test_posts_are_batched_and_bounded() -> None:
    steps: Steps = [["connect"], ["emit_many", "say", 100, 50], ["await", "events", 100]]
    async with RecordingServer.run(max_payload=1000) as server:
        story = await simulated(server.url, OPTIONS | {"transport": "polling"}, steps)
    posts = [request.packets for request in server.requests if request.kind == "POST"]
    assert said(story) == list(range(100))
    assert [len(posts[0]), len(posts[1])] == [1, 1]  # CONNECT, and the first event: nothing to wait for yet
    assert all(len("\x1e".join(packets)) <= 1000 for packets in posts)
    assert 8 <= len(posts) <= 16


async def test_a_refused_upgrade_leaves_it_on_polling() -> None:
    async with RecordingServer.run() as server:
        server.upgrade_status = 502
        story = await simulated(server.url, OPTIONS, [["connect"], ["call", "echo", 1]])
    assert story["transports"] == ["polling"]
    assert story["connects"][0]["upgrade_s"] is None
    assert story["acks"] == [[1]]


@pytest.mark.parametrize("kind", KINDS)
async def test_attachments_are_tolerated(kind: str) -> None:
    steps: Steps = [["connect"], ["emit", "binary"], ["call", "echo", 1]]
    async with RecordingServer.run() as server:
        story = await simulated(server.url, OPTIONS | {"transport": kind}, steps)
    assert (story["binary_events"], story["acks"], story["disconnects"]) == (1, [[1]], [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encrypted", [False, True])
async def test_large_messages_both_ways(kind: str, encrypted: bool) -> None:
    """A large message goes out although the socket does not take it at once, and comes in although it is in pieces."""
    options = OPTIONS | {"transport": kind}
    context = None
    if encrypted:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        options["tls_authority"] = str(CERTIFICATE)
    size = 900_000
    steps: Steps = [["connect"], ["emit_many", "say", 5, size], ["await", "events", 5], ["call", "echo", 1]]
    async with RecordingServer.run(tls=context) as server:
        story = await simulated(server.url, options, steps)
    assert [packet[:20] for packet in server.packets[1:6]] == [f'42/loadtest,["say",{number}' for number in range(5)]
    assert all(event > size for event in story["events"])
    assert story["acks"] == [[1]]
    assert min(story["bytes_sent"], story["bytes_received"]) > 5 * size


async def test_an_unknown_certificate_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with RecordingServer.run(tls=context) as server:
        story = await simulated(server.url, OPTIONS | {"reconnection": False}, [["connect"]])
    assert "certificate verify failed" in story["raised"][0][1]


@pytest.mark.parametrize("kind", KINDS[:2])
async def test_compressed_frames(kind: str) -> None:
    steps: Steps = [["connect"], ["emit", "flood", 5, 2000], ["call", "echo", "short"], ["await", "events", 5]]
    async with RecordingServer.run(compress=True) as server:
        story = await simulated(server.url, OPTIONS | {"transport": kind}, steps)
    assert len(story["events"]) == 5
    assert story["bytes_received"] < 5000
    assert story["acks"] == [["short"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_consumer_reads_nothing_until_it_resumes(kind: str) -> None:
    steps: Steps = [["connect"], ["pause_reading"], ["emit", "flood", 200, 100], ["pause", 0.5], ["tell", "events"]]
    steps += [["resume_reading"], ["await", "events", 200], ["call", "echo", 1]]
    async with RecordingServer.run(ping_interval_ms=100, ping_timeout_ms=100) as server:
        story = await simulated(server.url, OPTIONS | {"transport": kind}, steps)
    assert story["acks"] == [0, [1]]
    assert said(story) == list(range(200))
    assert story["disconnects"] == []


async def test_vanishing_is_silent() -> None:
    steps: Steps = [["connect"], ["call", "echo", 1], ["vanish"], ["pause", 0.6]]
    async with RecordingServer.run() as server:
        story = await simulated(server.url, OPTIONS | {"transport": "websocket"}, steps)
        [ended] = server.ended.values()
    assert ended - server.last_frame_at > 0.5
    assert server.frames[0][-1] == "close 1006"
    assert story["disconnects"] == ["vanished"]
    assert not story["is_active"]


@pytest.mark.parametrize("kind", KINDS)
async def test_dropping_is_followed_by_a_reconnection(kind: str) -> None:
    steps: Steps = [["connect"], ["drop"], ["await", "connects", 2], ["call", "echo", 1]]
    async with RecordingServer.run() as server:
        story = await simulated(server.url, OPTIONS | {"transport": kind}, steps)
    assert story["disconnects"] == ["transport close"]
    assert [connect["reconnect"] for connect in story["connects"]] == [False, True]
    assert server.packets.count(JOIN) == 2
    assert story["acks"] == [[1]]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_ends_a_connection_and_what_comes_after(kind: str) -> None:
    """After a packet that is no Socket.IO, or a callback that raises, it reconnects. Acks under way are given up."""
    steps: Steps = [
        ["connect"],
        ["call_briefly", "say", "nobody acks this"],
        ["emit", "garbage"],
        ["await", "connects", 2],
        ["emit", "say", "fail"],
        ["await", "connects", 3],
        ["call", "kick"],
        ["emit", "say", "too late"],
        ["connect"],
        ["call", "echo", "back"],
    ]
    async with RecordingServer.run() as server:
        story = await simulated(server.url, OPTIONS | {"transport": kind}, steps)
    assert story["disconnects"] == ["parse error", "callback failed", "io server disconnect"]
    assert [name for name, _ in story["raised"]] == ["AckTimeout", "NotConnected", "NotConnected"]
    assert [connect["reconnect"] for connect in story["connects"]] == [False, True, True, False]
    assert (story["acks"], story["acks_given_up"]) == ([["back"]], 2)


async def test_it_keeps_trying_while_there_is_no_server() -> None:
    steps: Steps = [["connect", 0.6]]
    story = await simulated(f"http://localhost:{free_ports(1)[0]}", OPTIONS, steps)
    assert len(story["errors"]) >= 2
    assert {phase for phase, _ in story["errors"]} == {"handshake"}
    assert story["raised"] == [["ConnectFailed", "handshake: transport error: poll: Connection refused"]]
    assert not story["is_active"]


async def test_one_attempt_without_reconnection() -> None:
    nowhere = f"http://localhost:{free_ports(1)[0]}"
    story = await simulated(nowhere, OPTIONS | {"reconnection": False}, [["connect"]])
    assert len(story["errors"]) == len(story["raised"]) == 1
    assert not story["is_active"]
