"""A session by WebSocket, what a full socket holds back, and a session that is over."""

import pytest

from io_node.engineio.api import Outbound
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session import inbound
from io_node.engineio.session.effects import (
    AnswerPoll,
    Closed,
    CloseSocket,
    FlushLater,
    WriteSocket,
)
from io_node.engineio.session.machine import EngineSession
from io_node.engineio.session.queue import WRITE_BYTES
from io_node.engineio.wire.packets import Message
from sio_cluster.protocol import reasons

from .sessions import BUFFERS, LIMITS, OPENING, text, websocket


def test_websocket_messages() -> None:
    session = websocket()
    assert inbound.text(session, "4hello", 1.0) == [Message("hello")]
    assert inbound.binary(session, b"\x01") == [Message(b"\x01")]
    assert inbound.text(session, "bAQ==", 1.0) == [Message(b"\x01")]
    session.queue.send(text(b"a"))
    session.queue.send(Outbound(b"b", [b"\x02"]))
    assert session.flush() == [WriteSocket(b"\x81\x024a\x81\x024b\x82\x01\x02")]


def test_frames_alone_are_taken_where_nothing_else_is_to_be_done() -> None:
    """Nothing while it closes: what waits leaves with the end. Nothing of more than one write takes."""
    session = websocket()
    assert session.take_frames() == b""
    session.queue.send(text(b"a"))
    assert session.take_frames() == b"\x81\x024a"
    session.queue.send(text(b"x" * (WRITE_BYTES + 1)))
    assert session.take_frames() == b""
    assert [type(effect) for effect in session.flush()] == [WriteSocket, FlushLater]
    session.queue.send(text(b"a"))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.take_frames() == b""
    assert session.flush() == [WriteSocket(b"\x81\x024a"), CloseSocket(1000), Closed(reasons.SERVER_DISCONNECT)]


@pytest.mark.parametrize("data", ["", "abc", "0", "5", "b!"])
def test_malformed_websocket_packets_close(data: str) -> None:
    session = websocket()
    assert inbound.text(session, data, 1.0) == [CloseSocket(1008), Closed(reasons.PARSE_ERROR)]
    assert inbound.text(session, "4a", 1.0) == inbound.binary(session, b"a") == session.flush() == []


def test_websocket_close_packet() -> None:
    assert inbound.text(websocket(), "1", 1.0) == [CloseSocket(1000), Closed(reasons.CLIENT_DISCONNECT)]


def test_close_writes_what_waits_first_also_when_the_socket_is_full() -> None:
    session = websocket()
    session.congested(b"x" * 500, 500, 1.0)
    session.queue.send(text(b"a"))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.flush() == []
    assert session.emptied(2.0) == [WriteSocket(b"\x81\x024a"), CloseSocket(1000), Closed(reasons.SERVER_DISCONNECT)]


def test_a_full_socket_holds_messages_back_until_it_drains() -> None:
    session = websocket()
    session.congested(b"x" * 500, 500, 1.0)
    session.queue.send(text(b"a"))
    assert session.flush() == []
    assert session.emptied(2.0) == [WriteSocket(b"\x81\x024a")]


def test_volatile_messages_are_dropped_where_nobody_waits_for_them() -> None:
    counters = EngineCounters()
    session = EngineSession(OPENING, "polling", LIMITS, counters, BUFFERS, 0.0)
    session.poll(0.0)
    assert not session.queue.send(Outbound(b"v", volatile=True))
    session.poll(1.0)
    assert session.queue.send(Outbound(b"w", volatile=True))
    assert session.flush() == [AnswerPoll(b"4w")]
    assert counters.dropped["volatile"] == 1


def test_volatile_messages_to_a_full_socket_are_dropped() -> None:
    session = websocket()
    assert session.queue.send(Outbound(b"v", volatile=True))
    session.flush()
    session.congested(b"x" * 10, 10, 1.0)
    assert not session.queue.send(Outbound(b"v", volatile=True))


def test_after_the_end_there_is_nothing() -> None:
    session = websocket()
    session.end(reasons.TRANSPORT_CLOSE)
    assert not session.queue.send(text(b"a"))
    assert session.deadline == float("inf")
    assert (
        session.end("x")
        == inbound.malformed_message(session, 99.0)
        == session.tick(99.0)
        == session.flush()
        == session.emptied(99.0)
        == []
    )


def test_who_began_to_close_gives_the_reason() -> None:
    """What was sent has not left when the client says CLOSE, or drops its connection."""
    for reason in (reasons.PARSE_ERROR, reasons.SERVER_DISCONNECT):
        session = websocket()
        session.congested(b"x" * 100, 50, 1.0)
        session.close(reason, 1.0)
        assert inbound.text(session, "1", 1.5) == [CloseSocket.because_of(reason), Closed(reason)]
        session = websocket()
        session.congested(b"x" * 100, 50, 1.0)
        session.close(reason, 1.0)
        assert session.end(reasons.TRANSPORT_CLOSE)[-1] == Closed(reason)
