"""The session machine, input by input. Times are in seconds of a clock that only these tests turn."""

import pytest

from io_node.engineio.api import Outbound
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session.buffers import Buffers
from io_node.engineio.session.effects import (
    AnswerPoll,
    Closed,
    CloseProbe,
    CloseSocket,
    Effect,
    Upgraded,
    Watch,
    WriteProbe,
    WriteSocket,
)
from io_node.engineio.session.limits import Limits
from io_node.engineio.session.machine import EngineSession, State
from io_node.engineio.wire.packets import Message, open_packet
from sio_cluster.protocol import reasons

LIMITS = Limits(ping_interval_s=25.0, ping_timeout_s=20.0, upgrade_timeout_s=10.0, allow_upgrades=True)
BUFFERS = Buffers(10**9, lambda: None)
OPENING = open_packet("sid", [], 25_000, 20_000, 1_000_000)


def new(transport: str = "polling", limits: Limits = LIMITS) -> EngineSession:
    return EngineSession(OPENING, transport, limits, EngineCounters(), BUFFERS, 0.0)


def polling() -> EngineSession:
    """A polling session whose client has read the open packet."""
    session = new()
    assert session.poll(0.0) == [AnswerPoll(OPENING.polling_packets[0])]
    return session


def websocket() -> EngineSession:
    session = new("websocket")
    assert session.flush() == [WriteSocket(OPENING.ws_frames)]
    return session


def text(data: bytes) -> Outbound:
    return Outbound(data)


def posted(session: EngineSession, body: bytes, now: float) -> list[Effect]:
    return [effect for effects in session.post(body, now) for effect in effects]


# --- polling ----------------------------------------------------------------------------------------------------------


def test_messages_of_a_tick_leave_in_one_payload() -> None:
    session = polling()
    assert session.poll(1.0) == []
    assert session.send(text(b"a"))
    assert not session.send(Outbound(b"b", [b"\x01"]))
    assert session.flush() == [AnswerPoll(b"4a\x1e4b\x1ebAQ==")]
    assert session.flush() == []


def test_messages_wait_for_a_late_poll() -> None:
    session = polling()
    session.send(text(b"a"))
    assert session.flush() == [Watch()]
    session.send(text(b"b"))
    assert session.poll(5.0) == [AnswerPoll(b"4a\x1e4b")]


def test_two_polls_at_once_close() -> None:
    session = polling()
    session.poll(1.0)
    assert session.poll_waiting
    assert session.fail(reasons.TRANSPORT_ERROR) == [AnswerPoll(b"1"), Closed(reasons.TRANSPORT_ERROR)]


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


def test_a_ping_from_the_client_closes() -> None:
    assert posted(polling(), b"2", 1.0) == [Closed(reasons.TRANSPORT_ERROR)]


def test_a_noop_from_the_client_is_nothing() -> None:
    assert posted(polling(), b"6\x1e4a", 1.0) == [Message("a")]


def test_close_sends_what_waits_and_then_the_close_packet() -> None:
    session = polling()
    session.poll(1.0)
    session.send(text(b"bye"))
    assert session.close(reasons.SERVER_DISCONNECT, 1.0) == []
    assert session.flush() == [AnswerPoll(b"4bye\x1e1"), Closed(reasons.SERVER_DISCONNECT)]
    assert session.close(reasons.SERVER_DISCONNECT, 1.0) == []


def test_close_waits_for_a_poll_but_not_for_ever() -> None:
    session = polling()
    session.send(text(b"bye"))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.flush() == [Watch()]
    assert posted(session, b"4ignored", 1.0) == []
    assert session.deadline == 21.0
    assert session.tick(20.9) == []
    assert session.tick(21.0) == [Closed(reasons.SERVER_DISCONNECT)]


def test_close_reaches_a_client_that_polls_late() -> None:
    session = polling()
    session.send(text(b"bye"))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.poll(2.0) == [AnswerPoll(b"4bye\x1e1"), Closed(reasons.SERVER_DISCONNECT)]


# --- heartbeat --------------------------------------------------------------------------------------------------------


def test_ping_pong_ping() -> None:
    session = websocket()
    assert session.deadline == 25.0
    assert session.tick(24.9) == []
    assert session.tick(25.0) == [WriteSocket(b"\x81\x012")]
    assert session.deadline == 45.0
    assert session.text("3", 26.0) == []
    assert session.deadline == 51.0


def test_no_pong_closes_on_time_even_if_the_ping_was_a_little_late() -> None:
    session = websocket()
    session.tick(25.02)
    assert session.deadline == 45.0
    assert session.tick(45.0) == [CloseSocket(1000), Closed(reasons.PING_TIMEOUT)]


def test_a_ping_held_up_by_a_stall_leaves_the_client_its_whole_time() -> None:
    session = websocket()
    session.tick(60.0)
    assert session.deadline == 80.0


def test_the_ping_of_a_polling_client_waits_for_its_poll() -> None:
    session = polling()
    assert session.tick(25.0) == []
    assert session.poll(26.0) == [AnswerPoll(b"2")]
    session.poll(26.1)
    assert session.tick(45.0) == [AnswerPoll(b"1"), Closed(reasons.PING_TIMEOUT)]


def test_a_client_that_we_do_not_read_from_is_not_timed_out() -> None:
    session = websocket()
    session.tick(25.0)
    session.paused(True, 26.0)
    for seconds in (45.0, 65.0, 85.0):
        assert session.tick(seconds) == [WriteSocket(b"\x81\x012")], "the client waits for PINGs all the while"
    session.paused(False, 90.0)
    assert session.deadline == 110.0
    assert session.tick(110.0)[-1] == Closed(reasons.PING_TIMEOUT)


def test_a_client_that_reads_nothing_and_is_not_read_has_one_ping_waiting() -> None:
    session = polling()
    session.paused(True, 1.0)
    for seconds in (25.0, 45.0, 65.0):
        assert session.tick(seconds) == []
    assert session.poll(66.0) == [AnswerPoll(b"2")]


def test_messages_alone_do_not_count_as_a_pong() -> None:
    session = websocket()
    session.tick(25.0)
    assert session.text("4a", 30.0) == [Message("a")]
    assert session.tick(45.0)[-1] == Closed(reasons.PING_TIMEOUT)


# --- websocket --------------------------------------------------------------------------------------------------------


def test_websocket_messages() -> None:
    session = websocket()
    assert session.text("4hello", 1.0) == [Message("hello")]
    assert session.binary(b"\x01") == [Message(b"\x01")]
    assert session.text("bAQ==", 1.0) == [Message(b"\x01")]
    session.send(text(b"a"))
    session.send(Outbound(b"b", [b"\x02"]))
    assert session.flush() == [WriteSocket(b"\x81\x024a\x81\x024b\x82\x01\x02")]


@pytest.mark.parametrize("data", ["", "abc", "0", "5", "b!"])
def test_malformed_websocket_packets_close(data: str) -> None:
    session = websocket()
    assert session.text(data, 1.0) == [CloseSocket(1008), Closed(reasons.PARSE_ERROR)]
    assert session.text("4a", 1.0) == session.binary(b"a") == session.flush() == []


def test_websocket_close_packet() -> None:
    assert websocket().text("1", 1.0) == [CloseSocket(1000), Closed(reasons.CLIENT_DISCONNECT)]


def test_close_writes_what_waits_first_also_when_the_socket_is_full() -> None:
    session = websocket()
    session.congested(b"x" * 500, 500, 1.0)
    session.send(text(b"a"))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.flush() == []
    assert session.drained(2.0) == [WriteSocket(b"\x81\x024a"), CloseSocket(1000), Closed(reasons.SERVER_DISCONNECT)]


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_full_socket_holds_messages_back_until_it_drains() -> None:
    session = websocket()
    session.congested(b"x" * 500, 500, 1.0)
    session.send(text(b"a"))
    assert session.flush() == []
    assert session.drained(2.0) == [WriteSocket(b"\x81\x024a")]


def test_volatile_messages_are_dropped_where_nobody_waits_for_them() -> None:
    counters = EngineCounters()
    session = EngineSession(OPENING, "polling", LIMITS, counters, BUFFERS, 0.0)
    session.poll(0.0)
    assert not session.send(Outbound(b"v", volatile=True))
    session.poll(1.0)
    assert session.send(Outbound(b"w", volatile=True))
    assert session.flush() == [AnswerPoll(b"4w")]
    assert counters.dropped["volatile"] == 1


def test_volatile_messages_to_a_full_socket_are_dropped() -> None:
    session = websocket()
    assert session.send(Outbound(b"v", volatile=True))
    session.flush()
    session.congested(b"x" * 10, 10, 1.0)
    assert not session.send(Outbound(b"v", volatile=True))


# --- upgrade ----------------------------------------------------------------------------------------------------------


def test_upgrade_moves_what_waits_in_order() -> None:
    session = polling()
    session.poll(1.0)
    assert session.open_probe(1.0)
    assert session.probe_text("2probe") == [WriteProbe(b"\x81\x063probe")]
    assert session.tick(1.11) == [AnswerPoll(b"6")]
    session.send(text(b"a"))
    session.send(text(b"b"))
    assert session.flush() == [Watch()]
    assert session.probe_text("5") == [Upgraded(), WriteSocket(b"\x81\x024a\x81\x024b")]
    assert session.transport == "websocket"
    assert session.text("4hello", 2.0) == [Message("hello")]


def test_upgrade_releases_a_poll_that_is_still_there() -> None:
    session = polling()
    session.open_probe(1.0)
    session.probe_text("2probe")
    session.poll(1.1)
    assert session.probe_text("5") == [AnswerPoll(b"6"), Upgraded()]


def test_messages_go_by_polling_while_the_probe_is_silent() -> None:
    session = polling()
    session.open_probe(1.0)
    session.probe_text("2probe")
    session.poll(1.1)
    session.send(text(b"a"))
    assert session.flush() == [AnswerPoll(b"4a")]
    session.send(text(b"b"))
    assert session.poll(1.2) == [AnswerPoll(b"4b")]


def test_polls_during_a_silent_probe_are_released_few_times() -> None:
    session = polling()
    session.open_probe(0.0)
    session.probe_text("2probe")
    now, noops = 0.0, 0
    session.poll(now)
    while now < 10.0:
        now = session.deadline
        effects = session.tick(now)
        if AnswerPoll(b"6") in effects:
            noops += 1
            session.poll(now)
    assert noops < 12
    assert session.open_probe(now), "the silent probe was given up"


def test_upgrade_timeout_closes_the_probe_alone() -> None:
    session = polling()
    session.open_probe(1.0)
    assert session.deadline == 11.0
    assert session.tick(11.0) == [CloseProbe()]
    assert session.state is State.OPEN
    session.poll(11.0)
    session.send(text(b"a"))
    assert session.flush() == [AnswerPoll(b"4a")]


@pytest.mark.parametrize("frame", ["5", "4hello", "3probe", "2", "", "junk"])
def test_anything_but_a_probe_closes_the_probe_alone(frame: str) -> None:
    session = polling()
    session.open_probe(1.0)
    assert session.probe_text(frame) == [CloseProbe()]
    assert session.probe_text("2probe") == []
    assert session.state is State.OPEN
    assert session.transport == "polling"


def test_second_upgrade_is_refused() -> None:
    session = polling()
    assert session.open_probe(1.0)
    assert not session.open_probe(1.0)
    session.probe_text("2probe")
    session.probe_text("5")
    assert not session.open_probe(1.0)
    assert not websocket().open_probe(1.0)


def test_upgrade_may_be_forbidden() -> None:
    limits = Limits(25.0, 20.0, 10.0, allow_upgrades=False)
    assert not new(limits=limits).open_probe(0.0)


def test_a_session_that_ends_takes_its_probe_along() -> None:
    session = polling()
    session.open_probe(1.0)
    assert session.fail(reasons.TRANSPORT_ERROR) == [CloseProbe(), Closed(reasons.TRANSPORT_ERROR)]
    session = polling()
    session.open_probe(1.0)
    assert session.close(reasons.SERVER_DISCONNECT, 1.0) == [CloseProbe()]


def test_after_the_end_there_is_nothing() -> None:
    session = websocket()
    session.fail(reasons.TRANSPORT_CLOSE)
    assert not session.send(text(b"a"))
    assert session.deadline == float("inf")
    assert (
        session.fail("x") == session.malformed() == session.tick(99.0) == session.flush() == session.drained(99.0) == []
    )


# --- the Python client ------------------------------------------------------------------------------------------------


def test_a_client_that_reads_16_packets_at_a_time_gets_no_more() -> None:
    session = EngineSession(OPENING, "polling", LIMITS, EngineCounters(), BUFFERS, 0.0, payload_packets=16)
    session.poll(0.0)
    for number in range(15):
        session.send(text(b"%d" % number))
    session.send(Outbound(b"15", [b"", b""]))
    session.send(text(b"16"))
    assert session.poll(1.0) == [AnswerPoll(b"\x1e".join(b"4%d" % number for number in range(15))), Watch()]
    assert session.held_bytes == 6
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.poll(1.0) == [AnswerPoll(b"415\x1eb\x1eb\x1e416\x1e1"), Closed(reasons.SERVER_DISCONNECT)]


def test_its_close_waits_for_room() -> None:
    session = EngineSession(OPENING, "polling", LIMITS, EngineCounters(), BUFFERS, 0.0, payload_packets=3)
    session.poll(0.0)
    for number in range(6):
        session.send(text(b"%d" % number))
    session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert session.poll(1.0) == [AnswerPoll(b"40\x1e41\x1e42"), Watch()]
    assert session.poll(1.0) == [AnswerPoll(b"43\x1e44\x1e45")]
    assert session.poll(1.0) == [AnswerPoll(b"1"), Closed(reasons.SERVER_DISCONNECT)]


def test_a_message_of_more_packets_than_that_goes_alone() -> None:
    session = EngineSession(OPENING, "polling", LIMITS, EngineCounters(), BUFFERS, 0.0, payload_packets=2)
    session.poll(0.0)
    session.send(Outbound(b"0", [b""] * 5))
    session.send(text(b"1"))
    assert session.poll(1.0) == [AnswerPoll(b"40" + b"\x1eb" * 5), Watch()]
    assert session.poll(1.0) == [AnswerPoll(b"41")]
