"""Socket.IO: connects to a namespace, stays there, reconnects, reads packets. Everything runs in gevent's hub."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import gevent
import msgspec
from gevent.event import Event

from loadtest.browser import packets
from loadtest.browser.attempt import AttemptClock, Backoff
from loadtest.browser.connection import Traffic
from loadtest.browser.engine import Engine, State
from loadtest.browser.hub import Alarm
from loadtest.browser.options import BrowserOptions, ConnectFailed, ConnectTimes, NotConnected
from loadtest.browser.site import Site


@dataclass(frozen=True, slots=True)
class Told:
    """The callbacks of a presence. `left` comes once after each `joined`."""

    event: Callable[[bytes], None]
    joined: Callable[[ConnectTimes], None]
    left: Callable[[str], None]
    failed: Callable[[ConnectFailed], None]


class Presence:
    """One client of one namespace.

    While `settled` is set, `answer` says how the present or the last attempt ended. The presence is at rest (does
    nothing) until `start`, and again after `rest`, `leave`, a refusal, or a failure without reconnection.
    """

    def __init__(self, site: Site, options: BrowserOptions, rng: random.Random, told: Told) -> None:
        self.connected = False
        self.sid = ""
        self.engine: Engine | None = None
        self.traffic = Traffic()
        self.acks = packets.Acks()
        self.binary_events = 0
        self.settled = Event()
        self.answer: ConnectTimes | ConnectFailed | None = None
        self.last_failure: ConnectFailed | None = None
        self._site = site
        self._options = options
        self._rng = rng
        self._told = told
        self._backoff = Backoff(
            options.reconnection_delay_s, options.reconnection_delay_max_s, options.randomization_factor, rng
        )
        self._former_frames = 0
        self._reads = True
        self._alarm = Alarm()  # bounds the attempt under way, or waits for the next one
        self._clock = AttemptClock()
        self._was_in = False
        self._awaits_upgrade = False
        self._pid: str | None = None  # for connection state recovery, where the server offers it
        self._last_event = b""

    @property
    def is_active(self) -> bool:
        return self.engine is not None or self._alarm.is_set

    @property
    def frames(self) -> int:
        return self._former_frames + (self.engine.frames if self.engine is not None else 0)

    def start(self) -> None:
        """Makes the first attempt. To be called only at rest."""
        self.settled.clear()
        self.answer = self.last_failure = None
        self._was_in = False
        self._attempt()

    def settle(self) -> None:
        """The connect is complete: in the namespace, and an upgrade is done or no longer waited for."""
        times = self._clock.times(reconnect=self._was_in)
        self._was_in = True
        self._alarm.clear()
        self._reply(times)
        self._told.joined(times)

    def send(self, packet: bytes) -> None:
        """Raises NotConnected."""
        if self.engine is None or not self.connected:
            raise NotConnected(f"not in {self._options.namespace}")
        self.engine.send(packet)

    def read(self, reads: bool) -> None:
        self._reads = reads
        if self.engine is not None:
            if reads:
                self.engine.resume()
            else:
                self.engine.pause()

    def leave(self, reason: str) -> None:
        """Leaves for good, politely: the server is told."""
        if self.connected and self.answer is None:
            self.settle()
        failed = self.failure(reason)
        self.rest()
        if not self.settled.is_set():
            self._reply(failed)
        self._tell_left(reason)

    def drop(self, reason: str, why: str) -> None:
        """Cuts the connection off. Then the same happens as after any lost connection."""
        if self.engine is not None:
            self.engine.drop()
            self.engine_lost(reason, why)

    def rest(self) -> None:
        """Ends the session politely, and makes no further attempt."""
        if self.engine is not None:
            self.engine.close()
        self._forget_engine()

    def failure(self, why: str) -> ConnectFailed:
        """A failure of the present attempt."""
        return ConnectFailed("connect" if self._clock.opened else "handshake", why)

    # what the engine calls (engine.Listener)

    def engine_opened(self) -> None:
        assert self.engine is not None
        self._backoff.reset()
        self._clock.opened = perf_counter()
        self._awaits_upgrade = self.engine.can_upgrade
        auth = self._options.auth
        if self._pid is not None:
            offset = packets.last_string(self._last_event)
            auth = {"pid": self._pid} | ({} if offset is None else {"offset": offset}) | dict(auth or {})
        self.engine.send(packets.encode(packets.CONNECT, self._options.namespace, auth))

    def engine_message(self, message: bytes) -> None:
        try:
            if message[:1] == b"2":
                if self._pid is not None and message.endswith(b'"]'):
                    self._last_event = message
                self._told.event(message)
            else:
                self._received(message)
        except BaseException:
            # The hub prints the error and never reads again. That must not look like a silent server.
            gevent.get_hub().loop.run_callback(self._callback_failed, self.engine)
            raise

    def engine_upgraded(self, upgraded: bool) -> None:
        self._awaits_upgrade = False
        if upgraded:
            self._clock.upgraded = perf_counter()
        if self.connected and self.answer is None:
            self.settle()

    def engine_lost(self, reason: str, why: str) -> None:
        failed = None if self.connected else self.failure(f"{reason}: {why}")
        self.last_failure = failed
        if self.connected and self.answer is None:
            self.settle()  # so that each `left` has its `joined`
        self._forget_engine()
        if self._options.reconnection:
            self.settled.clear()
            self.answer = None
            self._alarm.set(self._backoff.next_s(), self._attempt)
        elif failed is not None:
            self._reply(failed)
        self._tell_left(reason)
        if failed is not None:
            self._told.failed(failed)

    # attempts to connect

    def _attempt(self) -> None:
        self._clock = AttemptClock()
        self._awaits_upgrade = False
        self.engine = Engine(self._site, self.traffic, self._options.transport, self._rng, self, reads=self._reads)
        self._alarm.set(self._options.timeout_s, self._attempt_is_long)
        self.engine.open()

    def _attempt_is_long(self) -> None:
        assert self.engine is not None
        if self.engine.state is State.OPENING:
            self.drop("timeout", f"no handshake within {self._options.timeout_s} s")
            return
        self._awaits_upgrade = False
        if self.connected and self.answer is None:
            self.settle()

    def _callback_failed(self, engine: Engine | None) -> None:
        if engine is self.engine:
            self.drop("callback failed", "an error in a callback")

    def _forget_engine(self) -> None:
        self._alarm.clear()
        if self.engine is not None:
            self._former_frames += self.engine.frames
            self.engine = None

    def _tell_left(self, reason: str) -> None:
        if self.connected:
            self.connected = False
            self.sid = ""
            self.acks.give_up_all()
            self._told.left(reason)

    def _reply(self, answer: ConnectTimes | ConnectFailed) -> None:
        self.answer = answer
        self.settled.set()

    # packets received

    def _received(self, message: bytes) -> None:
        """Takes any packet but EVENT. A packet for another namespace is ignored, as the official client does."""
        packet = packets.decode(message)
        if packet is None:
            self.drop("parse error", repr(message[:80]))
        elif packet.namespace != self._options.namespace:
            return
        elif packet.kind in (packets.ACK, packets.BINARY_ACK):
            if packet.ack_id is not None:
                self.acks.take(packet.ack_id, packet.content)
        elif packet.kind == packets.CONNECT:
            self._joined(packet.content)
        elif packet.kind == packets.CONNECT_ERROR:
            self._refused(packet.content.decode("utf-8", "replace"))
        elif packet.kind == packets.DISCONNECT:
            self.leave("io server disconnect")
        else:
            self.binary_events += 1

    def _joined(self, content: bytes) -> None:
        try:
            joined = msgspec.json.decode(content, type=packets.Joined)
        except msgspec.MsgspecError as error:
            self._refused(f"a malformed answer to CONNECT: {error}")
            return
        self.sid, self._pid = joined.sid, joined.pid
        self.connected = True
        self._clock.joined = perf_counter()
        if not self._awaits_upgrade:
            self.settle()

    def _refused(self, why: str) -> None:
        failed = ConnectFailed("connect", why, refused=True)
        self.rest()
        self._reply(failed)
        self._told.failed(failed)
