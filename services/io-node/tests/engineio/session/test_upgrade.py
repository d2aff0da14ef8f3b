"""The upgrade of a session from polling to WebSocket, input by input."""

import pytest

from io_node.engineio.session import inbound
from io_node.engineio.session.effects import (
    AnswerPoll,
    Closed,
    CloseProbe,
    Upgraded,
    Watch,
    WriteProbe,
    WriteSocket,
)
from io_node.engineio.session.limits import Limits
from io_node.engineio.session.machine import State
from io_node.engineio.wire.packets import Message
from sio_cluster.protocol import reasons

from .sessions import new, polling, text, websocket


def test_upgrade_moves_what_waits_in_order() -> None:
    session = polling()
    session.poll(1.0)
    assert inbound.open_probe(session, 1.0)
    assert inbound.probe_text(session, "2probe") == [WriteProbe(b"\x81\x063probe")]
    assert session.tick(1.11) == [AnswerPoll(b"6")]
    session.queue.send(text(b"a"))
    session.queue.send(text(b"b"))
    assert session.flush() == [Watch()]
    assert inbound.probe_text(session, "5") == [Upgraded(), WriteSocket(b"\x81\x024a\x81\x024b")]
    assert session.transport == "websocket"
    assert inbound.text(session, "4hello", 2.0) == [Message("hello")]


def test_upgrade_releases_a_poll_that_is_still_there() -> None:
    session = polling()
    inbound.open_probe(session, 1.0)
    inbound.probe_text(session, "2probe")
    session.poll(1.1)
    assert inbound.probe_text(session, "5") == [AnswerPoll(b"6"), Upgraded()]


def test_messages_go_by_polling_while_the_probe_is_silent() -> None:
    session = polling()
    inbound.open_probe(session, 1.0)
    inbound.probe_text(session, "2probe")
    session.poll(1.1)
    session.queue.send(text(b"a"))
    assert session.flush() == [AnswerPoll(b"4a")]
    session.queue.send(text(b"b"))
    assert session.poll(1.2) == [AnswerPoll(b"4b")]


def test_polls_during_a_silent_probe_are_released_few_times() -> None:
    session = polling()
    inbound.open_probe(session, 0.0)
    inbound.probe_text(session, "2probe")
    now, noops = 0.0, 0
    session.poll(now)
    while now < 10.0:
        now = session.deadline
        effects = session.tick(now)
        if AnswerPoll(b"6") in effects:
            noops += 1
            session.poll(now)
    assert noops < 12
    assert inbound.open_probe(session, now), "the silent probe was given up"


def test_upgrade_timeout_closes_the_probe_alone() -> None:
    session = polling()
    inbound.open_probe(session, 1.0)
    assert session.deadline == 11.0
    assert session.tick(11.0) == [CloseProbe()]
    assert session.state is State.OPEN
    session.poll(11.0)
    session.queue.send(text(b"a"))
    assert session.flush() == [AnswerPoll(b"4a")]


@pytest.mark.parametrize("frame", ["5", "4hello", "3probe", "2", "", "junk"])
def test_anything_but_a_probe_closes_the_probe_alone(frame: str) -> None:
    session = polling()
    inbound.open_probe(session, 1.0)
    assert inbound.probe_text(session, frame) == [CloseProbe()]
    assert inbound.probe_text(session, "2probe") == []
    assert session.state is State.OPEN
    assert session.transport == "polling"


def test_second_upgrade_is_refused() -> None:
    session = polling()
    assert inbound.open_probe(session, 1.0)
    assert not inbound.open_probe(session, 1.0)
    inbound.probe_text(session, "2probe")
    inbound.probe_text(session, "5")
    assert not inbound.open_probe(session, 1.0)
    assert not inbound.open_probe(websocket(), 1.0)


def test_upgrade_may_be_forbidden() -> None:
    limits = Limits(25.0, 20.0, 10.0, allow_upgrades=False)
    assert not inbound.open_probe(new(limits=limits), 0.0)


def test_a_session_that_ends_takes_its_probe_along() -> None:
    session = polling()
    inbound.open_probe(session, 1.0)
    assert session.end(reasons.TRANSPORT_ERROR) == [CloseProbe(), Closed(reasons.TRANSPORT_ERROR)]
    session = polling()
    inbound.open_probe(session, 1.0)
    assert session.close(reasons.SERVER_DISCONNECT, 1.0) == [CloseProbe()]
