"""PING, PONG, and clients that do not answer."""

from io_node.engineio.session import inbound
from io_node.engineio.session.effects import (
    AnswerPoll,
    Closed,
    CloseSocket,
    WriteSocket,
)
from io_node.engineio.session.heartbeat import Heartbeat
from io_node.engineio.session.limits import NEVER
from io_node.engineio.session.machine import EngineSession
from io_node.engineio.wire.packets import Message
from sio_cluster.protocol import reasons

from .sessions import LIMITS, polling, posted, websocket


def test_ping_pong_ping() -> None:
    session = websocket()
    assert session.deadline == 25.0
    assert session.tick(24.9) == []
    assert session.tick(25.0) == [WriteSocket(b"\x81\x012")]
    assert session.deadline == 45.0
    assert inbound.text(session, "3", 26.0) == []
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
    session.heartbeat.pause(True, 26.0)
    for seconds in (45.0, 65.0, 85.0):
        assert session.tick(seconds) == [WriteSocket(b"\x81\x012")], "the client waits for PINGs all the while"
    session.heartbeat.pause(False, 90.0)
    assert session.deadline == 110.0
    assert session.tick(110.0)[-1] == Closed(reasons.PING_TIMEOUT)


def test_a_client_that_reads_nothing_and_is_not_read_has_one_ping_waiting() -> None:
    session = polling()
    session.heartbeat.pause(True, 1.0)
    for seconds in (25.0, 45.0, 65.0):
        assert session.tick(seconds) == []
    assert session.poll(66.0) == [AnswerPoll(b"2")]


def test_messages_alone_do_not_count_as_a_pong() -> None:
    session = websocket()
    session.tick(25.0)
    assert inbound.text(session, "4a", 30.0) == [Message("a")]
    assert session.tick(45.0)[-1] == Closed(reasons.PING_TIMEOUT)


# --- the round trip


def test_a_round_trip_by_websocket() -> None:
    session = websocket()
    session.tick(25.0)
    inbound.text(session, "3", 25.25)
    assert _trips(session) == {"websocket": (1, 0.25), "polling": (0, 0.0)}


def test_a_round_trip_by_polling_has_the_wait_for_a_poll() -> None:
    session = polling()
    session.tick(25.0)
    assert session.poll(25.5) == [AnswerPoll(b"2")]
    posted(session, b"3", 25.75)
    assert _trips(session) == {"websocket": (0, 0.0), "polling": (1, 0.75)}


def test_a_pong_that_nobody_asked_for_is_no_round_trip() -> None:
    session = websocket()
    inbound.text(session, "3", 1.0)
    session.tick(26.0)
    inbound.text(session, "3", 26.5)
    inbound.text(session, "3", 27.0)
    assert session.counters.round_trips["websocket"].sum == 0.5


def test_a_pong_that_was_not_read_at_once_is_no_round_trip() -> None:
    """It says how long reading was paused, and nothing of the way to the client."""
    session = websocket()
    session.tick(25.0)
    session.heartbeat.pause(True, 26.0)
    session.tick(45.0)
    session.heartbeat.pause(False, 50.0)
    inbound.text(session, "3", 50.0)
    inbound.text(session, "3", 50.0)
    assert session.counters.round_trips["websocket"].total == 0
    session.tick(75.0)
    inbound.text(session, "3", 75.5)
    assert session.counters.round_trips["websocket"].sum == 0.5


def test_a_pong_of_several_pings_is_no_round_trip() -> None:
    """Nobody knows which one it answers. It was read already when reading was paused."""
    session = websocket()
    session.tick(25.0)
    session.heartbeat.pause(True, 26.0)
    session.tick(45.0)
    inbound.text(session, "3", 46.0)
    assert session.counters.round_trips["websocket"].total == 0


def _trips(session: EngineSession) -> dict[str, tuple[int, float]]:
    """By transport: how many there were, and the seconds of all together."""
    return {transport: (trips.total, trips.sum) for transport, trips in session.counters.round_trips.items()}


# --- the object alone


def test_a_ping_moves_the_next_deadline_only_if_it_is_very_late() -> None:
    heartbeat = Heartbeat(LIMITS, 0.0)
    heartbeat.beat(25.04)
    assert heartbeat.due_at == 45.0
    heartbeat.beat(46.0)
    assert heartbeat.due_at == 66.0


def test_more_time_is_given_only_where_a_pong_is_due_and_none_is_taken_away() -> None:
    heartbeat = Heartbeat(LIMITS, 0.0)
    heartbeat.allow(99.0)
    assert heartbeat.due_at == 25.0
    heartbeat.beat(25.0)
    heartbeat.pong_due = True
    heartbeat.allow(30.0)
    assert heartbeat.due_at == 45.0
    heartbeat.allow(50.0)
    assert heartbeat.due_at == 50.0
    heartbeat.pong(46.0)
    assert heartbeat.due_at == 71.0


def test_nobody_waits_for_a_pong_that_is_not_read() -> None:
    heartbeat = Heartbeat(LIMITS, 0.0)
    heartbeat.beat(25.0)
    heartbeat.pong_due = True
    assert heartbeat.waits_for_pong
    heartbeat.pause(True, 26.0)
    assert not heartbeat.waits_for_pong
    heartbeat.pause(False, 40.0)
    assert heartbeat.waits_for_pong
    assert heartbeat.due_at == 60.0


def test_a_heartbeat_that_has_stopped_is_never_due() -> None:
    heartbeat = Heartbeat(LIMITS, 0.0)
    heartbeat.pong_due = True
    heartbeat.stop()
    heartbeat.pause(False, 1.0)
    assert heartbeat.due_at == NEVER
