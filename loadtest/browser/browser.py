"""A Socket.IO v5 client in one namespace that behaves like the official one: the class that scenarios use."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
from gevent.event import Event

from loadtest.browser import packets
from loadtest.browser.options import AckTimeout, BrowserOptions, ConnectFailed, ConnectTimes, NotConnected
from loadtest.browser.presence import Presence, Told
from loadtest.browser.site import Site


class Browser:
    """One simulated browser. It connects again whenever the official client would, until `close` or `vanish`.

    Callbacks run in gevent's hub and must not block. An error of theirs is shown by the hub and loses the connection,
    rather than going unseen:

    `on_event(browser, packet)`      each EVENT as received, without the Engine.IO type byte: `b'2/loadtest,["d",1]'`
    `on_connect(browser, times)`     it is in the namespace, and an upgrade is done or given up
    `on_disconnect(browser, reason)` once after each `on_connect`; the official client's
                                     words, `vanished`, `callback failed`
    `on_connect_error(browser, failed)`  an attempt failed; unless `failed.refused`, another one follows

    Events with attachments are not handed on, but counted in `binary_events`.
    """

    def __init__(self, url: str, options: BrowserOptions | None = None, *, rng: random.Random | None = None) -> None:
        self.options = options = options or BrowserOptions()
        self.on_event: Callable[[Browser, bytes], None] = _ignore
        self.on_connect: Callable[[Browser, ConnectTimes], None] = _ignore
        self.on_disconnect: Callable[[Browser, str], None] = _ignore
        self.on_connect_error: Callable[[Browser, ConnectFailed], None] = _ignore
        self._event_prefix = packets.encode(packets.EVENT, options.namespace)
        told = Told(
            event=lambda packet: self.on_event(self, packet),
            joined=lambda times: self.on_connect(self, times),
            left=lambda reason: self.on_disconnect(self, reason),
            failed=lambda failed: self.on_connect_error(self, failed),
        )
        site = Site(url, options.path, options.headers, options.tls)
        self._presence = Presence(site, options, rng or random.Random(), told)

    def connect(self, timeout_s: float = 20.0) -> ConnectTimes:
        """Blocks this greenlet until it is in the namespace. The times are those of the attempt that succeeded.

        Failed attempts are made again, like the official client's. Raises ConnectFailed when the time is up, when the
        application refused, or when reconnection is off and an attempt failed; the browser is at rest then.
        """
        presence = self._presence
        if not presence.is_active:
            presence.start()
        presence.settled.wait(timeout_s)
        if presence.answer is None and presence.connected:
            presence.settle()
        if isinstance(presence.answer, ConnectTimes):
            return presence.answer
        failed = presence.answer or presence.last_failure or presence.failure(f"not within {timeout_s} s")
        presence.rest()
        raise failed

    def emit(self, name: str, *args: Any) -> None:
        """Sends an event without an ack. Raises NotConnected."""
        self._presence.send(packets.encode_event(self._event_prefix, name, args))

    def emit_with_ack(self, name: str, *args: Any, callback: Callable[["Browser", bytes], None]) -> int:
        """`callback(browser, arguments)` gets the ack's arguments as JSON, in the hub, unless the browser leaves first.

        The ack's id. Raises NotConnected.
        """

        def answered(content: bytes | None) -> None:
            if content is not None:
                callback(self, content)

        return self._ask(name, args, answered)

    def call(self, name: str, *args: Any, timeout_s: float = 10.0) -> list[Any]:
        """Blocks this greenlet until the ack's arguments are here. Raises AckTimeout, NotConnected."""
        done = Event()
        answers: list[bytes | None] = []

        def answered(content: bytes | None) -> None:
            answers.append(content)
            done.set()

        number = self._ask(name, args, answered)
        try:
            if not done.wait(timeout_s):
                raise AckTimeout(f"{name} was not acked within {timeout_s} s")
        finally:
            self._presence.acks.forget(number)
        if answers[0] is None:
            raise NotConnected(f"left the namespace before {name} was acked")
        return msgspec.json.decode(answers[0], type=list[Any])

    def pause_reading(self) -> None:
        """A slow consumer: what the server sends stays in the sockets. Until `resume_reading`, no end is noticed."""
        self._presence.read(False)

    def resume_reading(self) -> None:
        self._presence.read(True)

    def close(self) -> None:
        """Leaves politely, in the background: DISCONNECT, then the transport's own goodbye. It may connect again."""
        if self.connected:
            self._presence.send(packets.encode(packets.DISCONNECT, self.options.namespace))
        self._presence.leave("io client disconnect")

    def drop(self) -> None:
        """Cuts its connection off, as a network that fails; it comes back like after any lost connection."""
        self._presence.drop("transport close", "cut off by this side")

    def vanish(self) -> None:
        """Drops its sockets without a word: they stay open, unread, until the server must have noticed (no FIN)."""
        if self._presence.engine is not None:
            self._presence.engine.abandon()
        self._presence.leave("vanished")

    @property
    def connected(self) -> bool:
        """In the namespace; an upgrade may still be under way."""
        return self._presence.connected

    @property
    def is_active(self) -> bool:
        """Connected, connecting, or waiting to connect again."""
        return self._presence.is_active

    @property
    def sid(self) -> str:
        """In the namespace, else empty."""
        return self._presence.sid

    @property
    def engine_sid(self) -> str:
        """Of the present session, else empty. Begins with the io-node's name."""
        engine = self._presence.engine
        return engine.sid if engine is not None else ""

    @property
    def transport(self) -> str:
        """`polling` or `websocket`: what it is on, or begins with."""
        engine = self._presence.engine
        if engine is not None:
            return engine.transport
        return "websocket" if self.options.transport == "websocket" else "polling"

    @property
    def bytes_received(self) -> int:
        return self._presence.traffic.received

    @property
    def bytes_sent(self) -> int:
        return self._presence.traffic.sent

    @property
    def frames_received(self) -> int:
        """WebSocket frames, and packets received by polling."""
        return self._presence.frames

    @property
    def binary_events(self) -> int:
        """Events with attachments, which are not handed on."""
        return self._presence.binary_events

    @property
    def acks_given_up(self) -> int:
        """Asked for and never received, because of a time-out or since it left the namespace."""
        return self._presence.acks.given_up

    def _ask(self, name: str, args: tuple[Any, ...], answered: Callable[[bytes | None], None]) -> int:
        if not self.connected:
            raise NotConnected(f"not in {self.options.namespace}")
        number = self._presence.acks.expect(answered)
        self._presence.send(packets.encode_event(self._event_prefix, name, args, number))
        return number


def _ignore(*_: object) -> None:
    """A callback that was not set."""
