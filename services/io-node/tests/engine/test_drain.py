"""What a polling client hears from a node that drains: nothing after which it would stay away."""

from io_node.engine.api import Outbound
from io_node.engine.effects import AnswerPoll, Closed
from io_node.engine.limits import EngineCounters, Limits
from io_node.engine.packets import open_packet
from io_node.engine.session import EngineSession
from sio_cluster.protocol import reasons

LIMITS = Limits(
    ping_interval_s=25.0, ping_timeout_s=20.0, upgrade_timeout_s=10.0, send_buffer_bytes=1000, allow_upgrades=True
)


def draining(*messages: bytes) -> EngineSession:
    session = EngineSession(open_packet("sid", [], 25_000, 20_000, 1_000_000), "polling", LIMITS, EngineCounters(), 0.0)
    session.poll(0.0)
    session.poll(1.0)
    for message in messages:
        session.send(Outbound(message))
    session.close(reasons.NODE_DRAINED, 1.0)
    return session


def test_a_waiting_poll_is_answered_as_for_an_unknown_session() -> None:
    assert draining().flush() == [AnswerPoll(b""), Closed(reasons.NODE_DRAINED)]


def test_what_waits_is_sent_without_a_close_packet() -> None:
    assert draining(b"a", b"b").flush() == [AnswerPoll(b"4a\x1e4b"), Closed(reasons.NODE_DRAINED)]


def test_the_end_of_the_drain_answers_too() -> None:
    assert draining(b"a").fail(reasons.NODE_DRAINED) == [AnswerPoll(b""), Closed(reasons.NODE_DRAINED)]
