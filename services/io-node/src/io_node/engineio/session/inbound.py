"""What comes from the client, and what follows from it. Pure.

A POST brings packets in a payload. On a WebSocket each message is one packet. A WebSocket beside a polling session
probes: it may take the session over (`session.upgrade`).
"""

from collections.abc import Iterator
from typing import assert_never

from io_node.engineio.session.effects import Effect, WriteProbe
from io_node.engineio.session.machine import EngineSession, State
from io_node.engineio.session.upgrade import Probe
from io_node.engineio.wire.packets import (
    NOOP,
    PROBE_PONG,
    Close,
    Message,
    Noop,
    Open,
    Packet,
    Ping,
    Pong,
    Upgrade,
    decode_packet,
    decode_payload,
)
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import MalformedPacket

_LAST_POLL_S = 0.1
"""A polling client that sends CLOSE may have sent a poll on another connection. How long the session waits for it."""

_OPEN, _CLOSED = State.OPEN, State.CLOSED  # for `text`: `State.OPEN` costs a look-up in the enum's metaclass


def post(session: EngineSession, body: bytes, now: float) -> Iterator[list[Effect]]:
    """A POST came. Yields the effects of one packet at a time, so that the owner may pause in between.

    Some packets have no effects, which gives []. Ends early where the session ends.
    """
    session.counters.polling_received_bytes += len(body)
    try:
        for packet in decode_payload(body):
            if not session.receives:
                return
            yield _received(session, packet, now)
    except MalformedPacket:
        yield _malformed(session)


def text(session: EngineSession, data: str, now: float) -> list[Effect]:
    """A text message came on the WebSocket that carries the session."""
    if session.state is _CLOSED:
        return []
    if data[:1] == "4":
        return [Message(data[1:])] if session.state is _OPEN or session.receives else []
    try:
        packet = decode_packet(data)
    except MalformedPacket:
        return _malformed(session)
    return _received(session, packet, now)


def binary(session: EngineSession, data: bytes) -> list[Effect]:
    """A binary message came on the WebSocket that carries the session."""
    return [Message(data)] if session.receives else []


def malformed_message(session: EngineSession, now: float) -> list[Effect]:
    """The client broke the protocol above Engine.IO: close, but let what is queued leave first.

    So a client that polls still gets, for instance, the answer to its CONNECT, and then CLOSE. Meanwhile what else it
    sends is ignored. Socket.IO's own server does the same.
    """
    if session.state is not State.OPEN:
        return _malformed(session)
    session.counters.malformed += 1
    return session.close(reasons.PARSE_ERROR, now) + session.flush()


# --- the WebSocket that probes ----------------------------------------------------------------------------------------


def open_probe(session: EngineSession, now: float) -> bool:
    """A WebSocket came for this session. False: the session cannot upgrade.

    It has upgraded, an upgrade is under way, upgrades are not allowed, or it closes.
    """
    if (
        session.state is not State.OPEN
        or session.transport != "polling"
        or session.probe is not None
        or not session.limits.allow_upgrades
    ):
        return False
    session.probe = Probe(now, session.limits.upgrade_timeout_s)
    return True


def probe_text(session: EngineSession, data: str) -> list[Effect]:
    """A text message on the WebSocket that probes: `2probe`, then `5`. Anything else ends the probe."""
    probe = session.probe
    if probe is None:
        return []
    if data == "2probe":
        probe.on_probe(poll_waits=session.poll_waiting)
        return [WriteProbe(PROBE_PONG.ws_frames)]
    if data == "5" and probe.probed:
        return session.move_to_websocket()
    return session.drop_probe()


def probe_closed(session: EngineSession) -> list[Effect]:
    """The WebSocket that probed is gone, or sent what it may not."""
    return session.drop_probe()


# --- inside -----------------------------------------------------------------------------------------------------------


def _received(session: EngineSession, packet: Packet, now: float) -> list[Effect]:
    match packet:
        case Message():
            return [packet] if session.receives else []
        case Pong():
            seconds = session.heartbeat.pong(now)
            if seconds is not None:
                session.counters.round_trips[session.transport].observe(seconds)
            return []
        case Close():
            return _leave(session, now)
        case Noop():
            return []
        case Ping():  # in v4 the server sends PINGs
            return session.end(reasons.TRANSPORT_ERROR)
        case Open() | Upgrade():
            return _malformed(session)
        case _:
            assert_never(packet)


def _leave(session: EngineSession, now: float) -> list[Effect]:
    """The client sent CLOSE. Its last poll may still be on its way, and is waited for."""
    if session.transport != "polling" or session.poll_waiting or session.state is not State.OPEN:
        return session.end(reasons.CLIENT_DISCONNECT, answer=NOOP)
    session.queue.drop("connection_closed")
    return session.close(reasons.CLIENT_DISCONNECT, now, _LAST_POLL_S)


def _malformed(session: EngineSession) -> list[Effect]:
    """The client broke the Engine.IO protocol: close at once, as Socket.IO's own server does."""
    if session.state is not State.CLOSED:
        session.counters.malformed += 1
    return session.end(reasons.PARSE_ERROR)
