"""A Socket.IO v5 client in one namespace that behaves like the official one: the class that scenarios use."""

import random
from collections.abc import Callable
from time import perf_counter
from typing import Any

import gevent
import msgspec
from gevent.event import Event

from loadtest.browser import packets
from loadtest.browser.acks import Acks
from loadtest.browser.alarm import Alarm
from loadtest.browser.backoff import Backoff
from loadtest.browser.engine import Engine, State
from loadtest.browser.link import Traffic
from loadtest.browser.options import AckTimeout, BrowserOptions, ConnectFailed, ConnectTimes, NotConnected
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
        self.connected = False
        self.sid = ""
        self.binary_events = 0
        self._rng = rng or random.Random()
        self._site = Site(url, options.path, options.headers, options.tls)
        self._backoff = Backoff(
            options.reconnection_delay_s, options.reconnection_delay_max_s, options.randomization_factor, self._rng
        )
        self._event_prefix = packets.encode(packets.EVENT, options.namespace)
        self._traffic = Traffic()
        self._frames = 0  # of former sessions
        self._engine: Engine | None = None
        self._reads = True
        self._alarm = Alarm()  # bounds the attempt under way, or waits for the next one
        self._acks = Acks()
        self._pid: str | None = None  # for connection state recovery, where the server offers it
        self._last_event = b""
        self._clock = _Clock()
        self._was_in = False
        self._awaits_upgrade = False
        self._answered = Event()  # `connect` has its answer:
        self._answer: ConnectTimes | ConnectFailed | None = None
        self._last_failure: ConnectFailed | None = None

    def connect(self, timeout_s: float = 20.0) -> ConnectTimes:
        """Blocks this greenlet until it is in the namespace. The times are those of the attempt that succeeded.

        Failed attempts are made again, like the official client's. Raises ConnectFailed when the time is up, when the
        application refused, or when reconnection is off and an attempt failed; the browser is at rest then.
        """
        if not self.is_active:
            self._answered.clear()
            self._answer = self._last_failure = None
            self._was_in = False
            self._attempt()
        self._answered.wait(timeout_s)
        if self._answer is None and self.connected:
            self._settle()
        if isinstance(self._answer, ConnectTimes):
            return self._answer
        failed = self._answer or self._last_failure or self._failure(f"not within {timeout_s} s")
        self._rest()
        raise failed

    def emit(self, name: str, *args: Any) -> None:
        """Sends an event without an ack. Raises NotConnected."""
        self._send(packets.encode_event(self._event_prefix, name, args))

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
            self._acks.forget(number)
        if answers[0] is None:
            raise NotConnected(f"left the namespace before {name} was acked")
        return msgspec.json.decode(answers[0], type=list[Any])

    def pause_reading(self) -> None:
        """A slow consumer: what the server sends stays in the sockets. Until `resume_reading`, no end is noticed."""
        self._reads = False
        if self._engine is not None:
            self._engine.pause()

    def resume_reading(self) -> None:
        self._reads = True
        if self._engine is not None:
            self._engine.resume()

    def close(self) -> None:
        """Leaves politely, in the background: DISCONNECT, then the transport's own goodbye. It may connect again."""
        if self.connected and self._engine is not None:
            self._engine.send(packets.encode(packets.DISCONNECT, self.options.namespace))
        self._leave("io client disconnect")

    def drop(self) -> None:
        """Cuts its connection off, as a network that fails; it comes back like after any lost connection."""
        if self._engine is not None:
            self._engine.drop()
            self.engine_lost("transport close", "cut off by this side")

    def vanish(self) -> None:
        """Drops its sockets without a word: they stay open, unread, until the server must have noticed (no FIN)."""
        if self._engine is not None:
            self._engine.abandon()
        self._leave("vanished")

    @property
    def is_active(self) -> bool:
        """Connected, connecting, or waiting to connect again."""
        return self._engine is not None or self._alarm.is_set

    @property
    def engine_sid(self) -> str:
        """Of the present session, else empty. Begins with the io-node's name."""
        return self._engine.sid if self._engine is not None else ""

    @property
    def transport(self) -> str:
        """`polling` or `websocket`: what it is on, or begins with."""
        if self._engine is not None:
            return self._engine.transport
        return "websocket" if self.options.transport == "websocket" else "polling"

    @property
    def bytes_received(self) -> int:
        return self._traffic.received

    @property
    def bytes_sent(self) -> int:
        return self._traffic.sent

    @property
    def frames_received(self) -> int:
        """WebSocket frames, and packets received by polling."""
        return self._frames + (self._engine.frames if self._engine is not None else 0)

    @property
    def acks_given_up(self) -> int:
        """Asked for and never received, because of a time-out or since it left the namespace."""
        return self._acks.given_up

    # what the session tells (engine.Listener)

    def engine_opened(self) -> None:
        assert self._engine is not None
        self._backoff.reset()
        self._clock.opened = perf_counter()
        self._awaits_upgrade = self._engine.can_upgrade
        auth = dict(self.options.auth) if self.options.auth is not None else None
        if self._pid is not None:
            auth = {"pid": self._pid, "offset": packets.last_string(self._last_event)} | (auth or {})
        self._engine.send(packets.encode(packets.CONNECT, self.options.namespace, auth))

    def engine_message(self, message: bytes) -> None:
        try:
            if message[:1] == b"2":
                if self._pid is not None:
                    self._last_event = message
                self.on_event(self, message)
            else:
                self._received(message)
        except BaseException:
            # the hub shows the error and stops reading for good: that must not look like a silent server
            gevent.get_hub().loop.run_callback(self._callback_failed, self._engine)
            raise

    def engine_upgraded(self, upgraded: bool) -> None:
        self._awaits_upgrade = False
        if upgraded:
            self._clock.upgraded = perf_counter()
        if self.connected and self._answer is None:
            self._settle()

    def engine_lost(self, reason: str, why: str) -> None:
        failed = None if self.connected else self._failure(f"{reason}: {why}")
        self._last_failure = failed
        if self.connected and self._answer is None:
            self._settle()  # so that each `on_disconnect` has its `on_connect`
        self._forget_engine()
        if self.options.reconnection:
            self._answered.clear()
            self._answer = None
            self._alarm.set(self._backoff.next_s(), self._attempt)
        elif failed is not None:
            self._reply(failed)
        self._tell_left(reason)
        if failed is not None:
            self.on_connect_error(self, failed)

    # how it works

    def _attempt(self) -> None:
        self._clock = _Clock()
        self._awaits_upgrade = False
        self._engine = Engine(self._site, self._traffic, self.options.transport, self._rng, self, reads=self._reads)
        self._alarm.set(self.options.timeout_s, self._attempt_is_long)
        self._engine.open()

    def _attempt_is_long(self) -> None:
        assert self._engine is not None
        if self._engine.state is State.OPENING:
            self._engine.drop()
            self.engine_lost("timeout", f"no handshake within {self.options.timeout_s} s")
            return
        self._awaits_upgrade = False
        if self.connected and self._answer is None:
            self._settle()

    def _callback_failed(self, engine: Engine | None) -> None:
        if engine is not None and engine is self._engine:
            engine.drop()
            self.engine_lost("callback failed", "an error in a callback")

    def _received(self, message: bytes) -> None:
        """All packets but EVENT."""
        packet = packets.decode(message)
        if packet is None:
            assert self._engine is not None
            self._engine.drop()
            self.engine_lost("parse error", repr(message[:80]))
        elif packet.namespace != self.options.namespace:
            return
        elif packet.kind in (packets.ACK, packets.BINARY_ACK):
            if packet.ack_id is not None:
                self._acks.take(packet.ack_id, packet.content)
        elif packet.kind == packets.CONNECT:
            self._joined(packet.content)
        elif packet.kind == packets.CONNECT_ERROR:
            self._refused(packet.content)
        elif packet.kind == packets.DISCONNECT:
            self._leave("io server disconnect")
        else:
            self.binary_events += 1

    def _joined(self, content: bytes) -> None:
        try:
            joined = msgspec.json.decode(content, type=packets.Joined)
        except msgspec.MsgspecError as error:
            self._refused(b'{"message":"a malformed CONNECT answer: %s"}' % str(error).encode())
            return
        self.sid, self._pid = joined.sid, joined.pid
        self.connected = True
        self._clock.joined = perf_counter()
        if not self._awaits_upgrade:
            self._settle()

    def _settle(self) -> None:
        times = self._clock.times(reconnect=self._was_in)
        self._was_in = True
        self._alarm.clear()
        self._reply(times)
        self.on_connect(self, times)

    def _refused(self, content: bytes) -> None:
        failed = ConnectFailed("connect", content.decode("utf-8", "replace"), refused=True)
        self._rest()
        self._reply(failed)
        self.on_connect_error(self, failed)

    def _leave(self, reason: str) -> None:
        if self.connected and self._answer is None:
            self._settle()
        failed = self._failure(reason)
        self._rest()
        if not self._answered.is_set():
            self._reply(failed)
        self._tell_left(reason)

    def _rest(self) -> None:
        """Ends the session politely, and what would start another one."""
        self._alarm.clear()
        if self._engine is not None:
            self._engine.close()
            self._forget_engine()

    def _forget_engine(self) -> None:
        self._alarm.clear()
        if self._engine is not None:
            self._frames += self._engine.frames
            self._engine = None

    def _tell_left(self, reason: str) -> None:
        if self.connected:
            self.connected = False
            self.sid = ""
            self._acks.give_up_all()
            self.on_disconnect(self, reason)

    def _reply(self, answer: ConnectTimes | ConnectFailed) -> None:
        self._answer = answer
        self._answered.set()

    def _failure(self, why: str) -> ConnectFailed:
        return ConnectFailed("connect" if self._clock.opened else "handshake", why)

    def _ask(self, name: str, args: tuple[Any, ...], answered: Callable[[bytes | None], None]) -> int:
        self._must_be_connected()
        number = self._acks.expect(answered)
        self._send(packets.encode_event(self._event_prefix, name, args, number))
        return number

    def _send(self, packet: bytes) -> None:
        self._must_be_connected().send(packet)

    def _must_be_connected(self) -> Engine:
        if self._engine is None or not self.connected:
            raise NotConnected(f"not in {self.options.namespace}")
        return self._engine


class _Clock:
    """When the phases of one attempt were over; 0.0: not yet."""

    __slots__ = ("joined", "opened", "started", "upgraded")

    def __init__(self) -> None:
        self.started = perf_counter()
        self.opened = 0.0
        self.upgraded = 0.0
        self.joined = 0.0

    def times(self, *, reconnect: bool) -> ConnectTimes:
        return ConnectTimes(
            handshake_s=self.opened - self.started,
            upgrade_s=self.upgraded - self.opened if self.upgraded else None,
            connect_s=self.joined - self.opened,
            total_s=max(self.joined, self.upgraded) - self.started,
            reconnect=reconnect,
        )


def _ignore(*_: object) -> None:
    """A callback that was not set."""
