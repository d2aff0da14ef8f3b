"""One Engine.IO v4 session of a client: handshake, upgrade, heartbeats, and the order of what is sent meanwhile."""

import random
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

import gevent
import msgspec

from loadtest.browser.connection import Traffic
from loadtest.browser.hub import Alarm
from loadtest.browser.options import Transport
from loadtest.browser.polling import Polling
from loadtest.browser.site import Site
from loadtest.browser.websocket import WebSocket

MAX_BUFFERED_BYTES = 16_000_000
"""Bytes that may wait for a POST or an upgrade to end. With more, the session is lost: `send buffer full`."""
CLOSE_TIMEOUT_S = 5.0
ABANDONED_GRACE_S = 5.0


class Handshake(msgspec.Struct, rename="camel"):
    """The content of the open packet. Intervals are milliseconds."""

    sid: str
    ping_interval: float
    ping_timeout: float
    upgrades: list[str] = []
    max_payload: int = 0


class Listener(Protocol):
    """What the user of a session provides. All methods are called from the hub."""

    def engine_opened(self) -> None: ...

    def engine_message(self, message: bytes) -> None: ...

    def engine_upgraded(self, upgraded: bool) -> None:
        """Called once where an upgrade was tried. True: the session is on WebSocket. False: it stays with polling."""

    def engine_lost(self, reason: str, why: str) -> None:
        """Called once, unless `close` or `abandon` ended the session. `reason` is the official client's word."""


class State(Enum):
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class Engine:
    """A session that is opened once. Messages arrive in the order in which they were sent, also around an upgrade."""

    def __init__(
        self, site: Site, traffic: Traffic, kind: Transport, rng: random.Random, listener: Listener, *, reads: bool
    ) -> None:
        self.sid = ""
        self.state = State.OPENING
        self._site = site
        self._traffic = traffic
        self._kind = kind
        self._rng = rng
        self._listener = listener
        self._reads = reads
        self._transport: WebSocket | Polling = (
            self._websocket(self._no_event, self._receive, self._lose)
            if kind == "websocket"
            else Polling(site, traffic, rng, self._receive, self._flush, self._lose)
        )
        self._probe: WebSocket | None = None
        self._is_upgrading = False
        self._frames_before_upgrade = 0
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._handshake: Handshake | None = None
        self._alarm = Alarm()

    @property
    def transport(self) -> str:
        return self._transport.name

    @property
    def frames(self) -> int:
        """Packets and attachments received so far."""
        return self._frames_before_upgrade + self._transport.frames

    @property
    def can_upgrade(self) -> bool:
        return self._kind == "upgrade" and self._handshake is not None and "websocket" in self._handshake.upgrades

    def open(self) -> None:
        if not self._reads:
            self._transport.pause()
        match self._transport:
            case WebSocket():
                self._transport.open("EIO=4&transport=websocket")
            case Polling():
                self._transport.open()

    def send(self, message: bytes) -> None:
        """Sends a message. Does nothing unless the session is open, as the official client."""
        if self.state is State.OPEN:
            self._send(b"4" + message)

    def pause(self) -> None:
        """Reads no more. The ping time-out is off meanwhile."""
        self._reads = False
        self._alarm.clear()
        for transport in (self._transport, self._probe):
            if transport is not None:
                transport.pause()

    def resume(self) -> None:
        self._reads = True
        if self.state is State.OPEN:
            self._expect_ping()
        for transport in (self._transport, self._probe):
            if transport is not None:
                transport.resume()

    def close(self) -> None:
        """Sends what is buffered, then ends the transport in order. In the background, CLOSE_TIMEOUT_S at most."""
        if self.state is State.OPENING:
            self.drop()
        elif self.state is State.OPEN:
            self.state = State.CLOSING
            self._alarm.set(CLOSE_TIMEOUT_S, self.drop)
            self._close_when_empty()

    def drop(self) -> None:
        """Closes its connections at once."""
        self.state = State.CLOSED
        self._alarm.clear()
        for transport in (self._transport, self._probe):
            if transport is not None:
                transport.drop()

    def abandon(self) -> None:
        """Vanishes: the sockets stay open, unread, until the server must have given the client up."""
        self.state = State.CLOSED
        self._alarm.clear()
        keep_s = ABANDONED_GRACE_S + (self._ping_limit_s(self._handshake) if self._handshake else 0)
        for transport in (self._transport, self._probe):
            if transport is not None:
                transport.abandon(keep_s)

    # receiving

    def _receive(self, packet: bytes) -> None:
        if self.state is State.CLOSING or self.state is State.CLOSED:
            return
        kind = packet[:1]
        if kind == b"4":
            self._listener.engine_message(packet[1:])
        elif kind == b"2":
            self._send(b"3")
            self._expect_ping()
        elif kind == b"0" and self.state is State.OPENING:
            self._opened(packet[1:])
        # NOOP and attachments only count as frames

    def _opened(self, content: bytes) -> None:
        try:
            handshake = msgspec.json.decode(content, type=Handshake)
        except msgspec.MsgspecError as error:
            self._lose_now("transport error", f"a malformed open packet: {error}")
            return
        self._handshake = handshake
        self.sid = handshake.sid
        self.state = State.OPEN
        if isinstance(self._transport, Polling):
            self._transport.sid = handshake.sid
        self._expect_ping()
        self._listener.engine_opened()
        if self.can_upgrade and self.state is State.OPEN:
            self._start_probe()

    def _expect_ping(self) -> None:
        if self._handshake is not None and self._reads:
            self._alarm.set(self._ping_limit_s(self._handshake), self._lose_now, "ping timeout", "no ping in time")

    @staticmethod
    def _ping_limit_s(handshake: Handshake) -> float:
        return (handshake.ping_interval + handshake.ping_timeout) / 1000

    def _lose(self, reason: str, why: str) -> None:
        """Called by the transport, which has closed itself."""
        if self.state is State.OPENING or self.state is State.OPEN:
            self._lose_now(reason, why)
        else:
            self.drop()

    def _lose_now(self, reason: str, why: str) -> None:
        if self.state is State.CLOSED:
            return
        self.drop()
        self._listener.engine_lost(reason, why)

    # sending

    def _send(self, packet: bytes) -> None:
        if isinstance(self._transport, WebSocket) and not self._is_upgrading:
            self._transport.send(packet)
            return
        self._buffered += len(packet) + 1
        if self._buffered > MAX_BUFFERED_BYTES:
            gevent.get_hub().loop.run_callback(self._lose_now, "transport error", "send buffer full")
            return
        self._buffer.append(packet)
        self._flush()

    def _flush(self) -> None:
        """Sends what is buffered, if nothing holds it back any more."""
        if self._buffer and not self._is_upgrading:
            match self._transport:
                case WebSocket():
                    for packet in self._take(0):
                        self._transport.send(packet)
                case Polling():
                    if not self._transport.is_writing:
                        self._transport.send(self._take(self._handshake.max_payload if self._handshake else 0))
        if self.state is State.CLOSING:
            self._close_when_empty()

    def _take(self, limit: int) -> list[bytes]:
        """Takes the buffered packets: all of them, or as many as fit into `limit` bytes of a POST, but at least one."""
        taken, size = 0, 0
        for packet in self._buffer:
            size += len(packet) + (1 if taken else 0)
            if limit and taken and size > limit:
                break
            taken += 1
        packets = self._buffer[:taken]
        del self._buffer[:taken]
        self._buffered -= sum(len(packet) + 1 for packet in packets)
        return packets

    def _close_when_empty(self) -> None:
        writing = isinstance(self._transport, Polling) and self._transport.is_writing
        if self._is_upgrading or self._buffer or writing:
            return
        self.state = State.CLOSED
        self._alarm.clear()
        if self._probe is not None:
            self._probe.close()
        self._transport.close()

    # upgrading

    def _websocket(
        self, opened: Callable[[], None], packet: Callable[[bytes], None], lost: Callable[[str, str], None]
    ) -> WebSocket:
        return WebSocket(self._site, self._traffic, self._rng, opened, packet, lost)

    def _start_probe(self) -> None:
        self._probe = self._websocket(self._probe_opened, self._probe_received, self._probe_lost)
        if not self._reads:
            self._probe.pause()
        self._probe.open(f"EIO=4&transport=websocket&sid={self.sid}")

    def _probe_opened(self) -> None:
        if self._probe is not None:
            self._probe.send(b"2probe")

    def _probe_received(self, packet: bytes) -> None:
        if self._probe is None or self._is_upgrading:
            return
        if packet == b"3probe" and isinstance(self._transport, Polling):
            self._is_upgrading = True
            self._transport.fall_silent(self._switch)
        else:
            self._probe.close()
            self._stay_with_polling()

    def _probe_lost(self, reason: str, why: str) -> None:
        if self._probe is None:
            self._lose(reason, why)  # the probe has become the transport
        elif self._is_upgrading:
            self._lose(reason, f"while upgrading: {why}")  # polling has stopped already, so there is no way back
        else:
            self._stay_with_polling()

    def _stay_with_polling(self) -> None:
        self._probe = None
        if self.state is State.OPEN:
            self._listener.engine_upgraded(False)

    def _switch(self) -> None:
        """Polling is silent now: every request was answered, and nothing is under way. WebSocket takes over."""
        assert self._probe is not None
        assert isinstance(self._transport, Polling)
        self._frames_before_upgrade = self._transport.frames
        self._transport.drop()
        self._transport, self._probe = self._probe, None
        self._transport.deliver_to(self._receive)
        self._transport.send(b"5")
        self._is_upgrading = False
        was_open = self.state is State.OPEN
        self._flush()
        if was_open:
            self._listener.engine_upgraded(True)

    def _no_event(self) -> None:
        """Nothing to do when the WebSocket is open: the open packet comes by itself."""
