"""`Browser`: a Socket.IO v5 client in one namespace that behaves like the official one. Scenarios use this class."""

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
    """One simulated browser. It reconnects whenever the official client would, until `close` or `vanish`.

    Callbacks run in gevent's hub and must not block. If one raises, the hub prints the error and the connection is
    lost (`callback failed`), so that it does not go unseen.

    `on_event(browser, packet)`      each EVENT as received, without the Engine.IO type byte: `b'2/loadtest,["d",1]'`
    `on_connect(browser, times)`     in the namespace, and an upgrade is done or given up
    `on_disconnect(browser, reason)` once after each `on_connect`. `reason` is one of the official client's words, or
                                     `vanished` or `callback failed`
    `on_connect_error(browser, failed)`  an attempt failed. Another one follows, unless `failed.refused`

    Events with attachments are not passed on; `binary_events` counts them.
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
        """Blocks this greenlet until the browser is in the namespace. Returns the times of the successful attempt.

        After a failed attempt it tries again, like the official client. Raises ConnectFailed when the time is up, when
        the application refused, or when an attempt failed and reconnection is off. The browser does nothing then.
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
        """Sends an event and returns the id of its ack. Raises NotConnected.

        `callback(browser, arguments)` gets the ack's arguments as JSON, in the hub. It is not called if the browser
        leaves the namespace first.
        """

        def answered(content: bytes | None) -> None:
            if content is not None:
                callback(self, content)

        return self._ask(name, args, answered)

    def call(self, name: str, *args: Any, timeout_s: float = 10.0) -> list[Any]:
        """Sends an event and blocks this greenlet until its ack is here. Raises AckTimeout, NotConnected."""
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
        """Reads nothing until `resume_reading`: what the server sends stays in the sockets, and no end is noticed."""
        self._presence.read(False)

    def resume_reading(self) -> None:
        self._presence.read(True)

    def close(self) -> None:
        """Leaves politely, in the background: DISCONNECT, then an orderly end. `connect` may follow."""
        if self.connected:
            self._presence.send(packets.encode(packets.DISCONNECT, self.options.namespace))
        self._presence.leave("io client disconnect")

    def drop(self) -> None:
        """Cuts the connection off, as a failing network does. The browser reconnects."""
        self._presence.drop("transport close", "cut off by this side")

    def vanish(self) -> None:
        """Disappears without a FIN: the sockets stay open, unread, until the server must have noticed."""
        if self._presence.engine is not None:
            self._presence.engine.abandon()
        self._presence.leave("vanished")

    @property
    def connected(self) -> bool:
        """True while in the namespace. An upgrade may still be under way."""
        return self._presence.connected

    @property
    def is_active(self) -> bool:
        """True while connected, connecting, or waiting to reconnect."""
        return self._presence.is_active

    @property
    def sid(self) -> str:
        """The Socket.IO session id; empty while not in the namespace."""
        return self._presence.sid

    @property
    def engine_sid(self) -> str:
        """The id of the present Engine.IO session, or empty. It begins with the io-node's name."""
        engine = self._presence.engine
        return engine.sid if engine is not None else ""

    @property
    def transport(self) -> str:
        """`polling` or `websocket`: the present transport, or the one that the next attempt begins with."""
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
        """WebSocket frames plus packets received by polling."""
        return self._presence.frames

    @property
    def binary_events(self) -> int:
        """Events with attachments. They are not passed to `on_event`."""
        return self._presence.binary_events

    @property
    def acks_given_up(self) -> int:
        """Acks that were asked for and never came: a time-out, or the browser left the namespace."""
        return self._presence.acks.given_up

    def _ask(self, name: str, args: tuple[Any, ...], answered: Callable[[bytes | None], None]) -> int:
        if not self.connected:
            raise NotConnected(f"not in {self.options.namespace}")
        number = self._presence.acks.expect(answered)
        self._presence.send(packets.encode_event(self._event_prefix, name, args, number))
        return number


def _ignore(*_: object) -> None:
    """The default of each callback."""
