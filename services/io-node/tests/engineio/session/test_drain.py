"""A node that drains: its clients hear nothing after which they would stay away, and what they sent before is taken."""

from io_node.engineio.api import Outbound
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session import inbound
from io_node.engineio.session.buffers import Buffers
from io_node.engineio.session.effects import AnswerPoll, Closed, CloseSocket, Effect, PartSocket, WriteSocket
from io_node.engineio.session.limits import Limits
from io_node.engineio.session.machine import EngineSession
from io_node.engineio.wire.packets import Message, open_packet
from sio_cluster.protocol import reasons

LIMITS = Limits(ping_interval_s=25.0, ping_timeout_s=20.0, upgrade_timeout_s=10.0, allow_upgrades=True)
BUFFERS = Buffers(10**9, lambda: None)
OPENING = open_packet("sid", [], 25_000, 20_000, 1_000_000)


def draining(*messages: bytes, poll: bool = True) -> EngineSession:
    session = EngineSession(OPENING, "polling", LIMITS, EngineCounters(), BUFFERS, 0.0)
    session.poll(0.0)
    if poll:
        session.poll(1.0)
    for message in messages:
        session.queue.send(Outbound(message))
    session.close(reasons.NODE_DRAINED, 1.0)
    return session


def by_websocket() -> EngineSession:
    session = EngineSession(OPENING, "websocket", LIMITS, EngineCounters(), BUFFERS, 0.0)
    session.flush()
    session.queue.send(Outbound(b"a"))
    session.close(reasons.NODE_DRAINED, 1.0)
    return session


def test_a_waiting_poll_is_answered_as_for_an_unknown_session() -> None:
    session = draining()
    assert session.flush() == [AnswerPoll(b"")]
    assert session.tick(session.deadline) == [Closed(reasons.NODE_DRAINED)]


def test_what_waits_is_sent_without_a_close_packet() -> None:
    assert draining(b"a", b"b").flush() == [AnswerPoll(b"4a\x1e4b")]


def test_the_end_of_the_drain_answers_too() -> None:
    assert draining(b"a").end(reasons.NODE_DRAINED) == [AnswerPoll(b""), Closed(reasons.NODE_DRAINED)]


def test_posts_under_way_are_taken_for_a_while() -> None:
    session = draining()
    session.flush()
    assert list(inbound.post(session, b"4x\x1e4y", 1.5)) == [[Message("x")], [Message("y")]]
    assert session.tick(1.9) == []
    assert session.tick(2.0) == [Closed(reasons.NODE_DRAINED)]
    assert list(inbound.post(session, b"4z", 2.1)) == []


def test_a_poll_after_the_last_one_is_answered_at_once() -> None:
    session = draining()
    session.flush()
    assert session.poll(1.2) == [AnswerPoll(b"")]


def test_between_two_polls_messages_still_gather() -> None:
    session = draining(poll=False)
    assert session.flush() == []
    session.queue.send(Outbound(b"late"))
    assert list(inbound.post(session, b"4x", 2.0)) == [[Message("x")]]
    assert session.poll(3.0) == [AnswerPoll(b"4late")]
    assert session.tick(session.deadline) == [Closed(reasons.NODE_DRAINED)]


def test_frames_count_until_the_client_closes_too() -> None:
    session = by_websocket()
    assert session.flush() == [WriteSocket(b"\x81\x024a"), PartSocket(1001)]
    session.queue.send(Outbound(b"too late"))
    assert inbound.text(session, "4x", 1.1) == [Message("x")]
    assert inbound.binary(session, b"y") == [Message(b"y")]
    assert session.end(reasons.TRANSPORT_CLOSE) == [CloseSocket(1001), Closed(reasons.NODE_DRAINED)]


def test_a_client_that_does_not_close_is_not_waited_for_for_ever() -> None:
    session = by_websocket()
    session.flush()
    assert session.tick(21.0) == [CloseSocket(1001), Closed(reasons.NODE_DRAINED)]


def test_a_client_that_says_close_since_it_was_told_was_drained() -> None:
    """Socket.IO's JavaScript client takes the answer to its poll for an error, and says CLOSE in a POST."""
    session = draining()
    session.flush()
    assert list(inbound.post(session, b"1", 1.1)) == [[Closed(reasons.NODE_DRAINED)]]


def test_a_client_that_leaves_before_it_was_told_left() -> None:
    session = draining(b"a")
    assert session.flush() == [AnswerPoll(b"4a")]
    assert list(inbound.post(session, b"1", 1.1)) == [[Closed(reasons.CLIENT_DISCONNECT)]]


def test_what_ends_a_websocket_that_was_told_is_the_drain() -> None:
    ended = [CloseSocket(1001), Closed(reasons.NODE_DRAINED)]
    for end in (
        lambda session: inbound.text(session, "1", 1.1),
        lambda session: inbound.text(session, "x", 1.1),
        lambda session: session.end(reasons.TRANSPORT_ERROR),
        _pings_in_vain,
    ):
        session = by_websocket()
        session.flush()
        assert end(session) == ended


def _pings_in_vain(session: EngineSession) -> list[Effect]:
    """The PING leaves before the drain begins, and the time of its answer is over before that of the drain is."""
    session = EngineSession(OPENING, "websocket", LIMITS, EngineCounters(), BUFFERS, 0.0)
    session.flush()
    session.tick(25.0)
    session.close(reasons.NODE_DRAINED, 44.0)
    session.flush()
    return session.tick(45.0)


def test_who_breaks_the_protocol_meanwhile_is_closed_at_once() -> None:
    session = draining(poll=False)
    assert inbound.malformed_message(session, 1.5) == [Closed(reasons.PARSE_ERROR)]
    assert session.counters.malformed == 1
