"""A session by long-polling: what one poll brings, and what a POST may hold."""

import pytest

from io_node.engineio.api import Outbound
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session.effects import (
    AnswerPoll,
    Closed,
    Watch,
)
from io_node.engineio.session.machine import EngineSession
from io_node.engineio.wire.packets import Message
from sio_cluster.protocol import reasons

from .sessions import BUFFERS, LIMITS, OPENING, polling, posted, text


def test_messages_of_a_tick_leave_in_one_payload() -> None:
    session = polling()
    assert session.poll(1.0) == []
    assert session.queue.send(text(b"a"))
    assert not session.queue.send(Outbound(b"b", [b"\x01"]))
    assert session.flush() == [AnswerPoll(b"4a\x1e4b\x1ebAQ==")]
    assert session.flush() == []


def test_messages_wait_for_a_late_poll() -> None:
    session = polling()
    session.queue.send(text(b"a"))
    assert session.flush() == [Watch()]
    session.queue.send(text(b"b"))
    assert session.poll(5.0) == [AnswerPoll(b"4a\x1e4b")]


def test_two_polls_at_once_close() -> None:
    session = polling()
    session.poll(1.0)
    assert session.poll_waiting
    assert session.end(reasons.TRANSPORT_ERROR) == [AnswerPoll(b"1"), Closed(reasons.TRANSPORT_ERROR)]


def test_close_packet_ends_the_poll_by_a_noop() -> None:
    session = polling()
    session.poll(1.0)
    assert posted(session, b"1\x1e4late", 1.0) == [AnswerPoll(b"6"), Closed(reasons.CLIENT_DISCONNECT)]


def test_post_is_cut_where_it_is_malformed() -> None:
    session = polling()
    session.poll(1.0)
    effects = posted(session, b"4a\x1e?\x1e4b", 1.0)
    assert effects == [Message("a"), AnswerPoll(b"1"), Closed(reasons.PARSE_ERROR)]
    assert posted(session, b"4c", 1.0) == []


@pytest.mark.parametrize("packet", [b"0", b"5", b"7", b"", b"b*"])
def test_packets_that_no_client_sends_close(packet: bytes) -> None:
    assert posted(polling(), packet, 1.0) == [Closed(reasons.PARSE_ERROR)]


def test_the_bytes_of_a_post_are_counted() -> None:
    session = polling()
    posted(session, "4ü\x1e4b".encode(), 1.0)
    posted(session, b"4c", 2.0)
    assert session.counters.polling_received_bytes == 8


def test_a_ping_from_the_client_closes() -> None:
    assert posted(polling(), b"2", 1.0) == [Closed(reasons.TRANSPORT_ERROR)]


def test_a_noop_from_the_client_is_nothing() -> None:
    assert posted(polling(), b"6\x1e4a", 1.0) == [Message("a")]


def test_close_sends_what_waits_and_to_the_next_poll_the_close_packet() -> None:
    """Both in one payload: the JavaScript client would take the messages for those of its next session."""
    session = polling()
    session.poll(1.0)
    session.queue.send(text(b"bye"))
    assert session.close(reasons.SERVER_DISCONNECT, 1.0) == []
    assert session.flush() == [AnswerPoll(b"4bye")]
    assert not session.queue.send(text(b"late"))
    assert posted(session, b"4ignored", 1.2) == []
    assert session.poll(1.5) == [AnswerPoll(b"1"), Closed(reasons.SERVER_DISCONNECT)]
    assert session.close(reasons.SERVER_DISCONNECT, 1.5) == []


def test_the_poll_that_gets_the_close_packet_is_not_waited_for_for_long() -> None:
    session = polling()
    session.poll(1.0)
    session.queue.send(text(b"bye"))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    session.flush()
    assert session.deadline == 2.0
    assert session.tick(2.0) == [Closed(reasons.SERVER_DISCONNECT)]


def test_a_close_without_messages_is_told_at_once() -> None:
    session = polling()
    session.poll(1.0)
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.flush() == [AnswerPoll(b"1"), Closed(reasons.SERVER_DISCONNECT)]


@pytest.mark.parametrize("reason", [reasons.SERVER_DISCONNECT, reasons.NODE_DRAINED])
def test_a_last_payload_that_is_taken_slowly_is_not_cut_off(reason: str) -> None:
    session = polling()
    session.poll(1.0)
    session.queue.send(text(b"x" * 200_000))
    session.close(reason, 1.0)
    (answer,) = session.flush()
    assert isinstance(answer, AnswerPoll)
    session.congested(answer.payload, 200_000, 1.0)
    for number, seconds in enumerate((15.0, 30.0, 45.0)):
        session.left(190_000 - number, seconds)
        assert session.tick(seconds) == []
    assert session.emptied(46.0) == []
    assert session.tick(46.9) == []
    assert session.tick(47.0) == [Closed(reason)]


def test_close_waits_for_a_poll_but_not_for_ever() -> None:
    session = polling()
    session.queue.send(text(b"bye"))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.flush() == [Watch()]
    assert posted(session, b"4ignored", 1.0) == []
    assert session.deadline == 21.0
    assert session.tick(20.9) == []
    assert session.tick(21.0) == [Closed(reasons.SERVER_DISCONNECT)]


def test_close_reaches_a_client_that_polls_late() -> None:
    session = polling()
    session.queue.send(text(b"bye"))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.poll(12.0) == [AnswerPoll(b"4bye")]
    assert session.poll(12.9) == [AnswerPoll(b"1"), Closed(reasons.SERVER_DISCONNECT)]


def test_a_client_that_reads_16_packets_at_a_time_gets_no_more() -> None:
    session = EngineSession(OPENING, "polling", LIMITS, EngineCounters(), BUFFERS, 0.0, payload_packets=16)
    session.poll(0.0)
    for number in range(15):
        session.queue.send(text(b"%d" % number))
    session.queue.send(Outbound(b"15", [b"", b""]))
    session.queue.send(text(b"16"))
    assert session.poll(1.0) == [AnswerPoll(b"\x1e".join(b"4%d" % number for number in range(15))), Watch()]
    assert session.queue.held_bytes == 6
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.poll(1.0) == [AnswerPoll(b"415\x1eb\x1eb\x1e416")]
    assert session.poll(1.0) == [AnswerPoll(b"1"), Closed(reasons.SERVER_DISCONNECT)]


def test_its_close_waits_for_all_messages() -> None:
    session = EngineSession(OPENING, "polling", LIMITS, EngineCounters(), BUFFERS, 0.0, payload_packets=3)
    session.poll(0.0)
    for number in range(6):
        session.queue.send(text(b"%d" % number))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.poll(1.0) == [AnswerPoll(b"40\x1e41\x1e42"), Watch()]
    assert session.poll(1.0) == [AnswerPoll(b"43\x1e44\x1e45")]
    assert session.poll(1.0) == [AnswerPoll(b"1"), Closed(reasons.SERVER_DISCONNECT)]


def test_a_message_of_more_packets_than_that_goes_alone() -> None:
    session = EngineSession(OPENING, "polling", LIMITS, EngineCounters(), BUFFERS, 0.0, payload_packets=2)
    session.poll(0.0)
    session.queue.send(Outbound(b"0", [b""] * 5))
    session.queue.send(text(b"1"))
    assert session.poll(1.0) == [AnswerPoll(b"40" + b"\x1eb" * 5), Watch()]
    assert session.poll(1.0) == [AnswerPoll(b"41")]


def test_a_client_that_said_close_has_left_even_if_its_connection_breaks() -> None:
    session = polling()
    assert posted(session, b"1", 1.0) == []
    assert session.end(reasons.TRANSPORT_ERROR) == [Closed(reasons.CLIENT_DISCONNECT)]
