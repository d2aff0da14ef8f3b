"""Sessions in the states that the tests begin with. Times are in seconds of a clock that only the tests turn."""

from io_node.engineio.api import Outbound
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session import inbound
from io_node.engineio.session.buffers import Buffers
from io_node.engineio.session.effects import (
    AnswerPoll,
    Effect,
    WriteSocket,
)
from io_node.engineio.session.limits import Limits
from io_node.engineio.session.machine import EngineSession
from io_node.engineio.wire.packets import open_packet

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
    return [effect for effects in inbound.post(session, body, now) for effect in effects]
