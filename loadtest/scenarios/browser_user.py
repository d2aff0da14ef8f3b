"""A locust user that is a browser: what scenarios, and users of this load test, build upon."""

import time
from collections.abc import Callable
from typing import Any, ClassVar

import gevent
import msgspec
from gevent.event import Event
from locust import User
from locust.exception import StopUser

from loadtest.browser import AckTimeout, Browser, BrowserOptions, ConnectFailed, ConnectTimes, NotConnected
from loadtest.ledger.clock import wall_us
from loadtest.ledger.member import BROADCAST
from loadtest.scenarios import current
from loadtest.scenarios.options import Seat, seat

CONNECT_S = 20.0
ACK_S = 10.0
AGAIN_S = 2.0
IDLE_S = 3600.0
KINDS_OF_FAILURE = 50
OWN_REASONS = ("io client disconnect", "vanished")  # a client that leaves of its own accord


class Answer(msgspec.Struct):
    """What the application's acks tell: its clock in seconds."""

    now: float = 0.0


class BrowserUser(User):
    """One simulated browser. `on_start` connects it, `on_stop` disconnects it politely.

    `publish`, `broadcast`, `join` and `leave` speak with a server that has the handlers of examples/chat/load_test.py,
    and are accounted delivery by delivery. `emit` and `call` are for any application: an ack's round trip becomes a
    locust request and an entry of the result.
    """

    abstract = True
    scenario: ClassVar[str | None] = None
    losses_allowed: ClassVar[bool] = False
    namespace: ClassVar[str | None] = None  # in place of the option
    auth: ClassVar[dict[str, Any] | None] = None
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.session = current.session()
        self.number = self.session.next_slot()
        self.rooms: set[int] = set()
        self.member = self.session.ledger.member(self.number)
        self.publisher = self.session.ledger.publisher(self.number)
        self.browser = self.new_browser()
        self._lost_at: float | None = None
        self._due_at = 0.0
        self._is_expected = False
        self._failed: ConnectFailed | None = None  # the failure that was counted last
        self._breaks = False  # it cuts itself off at this moment
        self._waiting: dict[int, tuple[str, float]] = {}  # by the number of the ack: event, when it was asked for

    @property
    def seat(self) -> Seat:
        """Its room and its rate, by the options."""
        return seat(self.session.settings, self.number)

    def on_start(self) -> None:
        self.connect()

    def on_stop(self) -> None:
        self.disconnect()

    def new_browser(self) -> Browser:
        """Not yet connected. Its transport is drawn by weight."""
        settings = self.session.settings
        options = BrowserOptions(
            transport=self.session.transport(),  # type: ignore[arg-type] # one of options.TRANSPORTS
            namespace=self.namespace or settings.namespace,
            auth=self.auth,
            headers=self.headers,
        )
        browser = Browser(str(self.host), options, rng=self.session.rng)
        browser.on_event = self._heard
        browser.on_connect = self._connected
        browser.on_disconnect = self._disconnected
        browser.on_connect_error = self._connect_failed
        return browser

    def connect(self) -> None:
        """Blocks until it is in the namespace, for as long as that takes. Failed attempts are counted.

        In a process that takes no part in the run it stays out, and StopUser ends it with the session.
        """
        if not self.session.takes_part:
            self.session.ended.wait()
            raise StopUser
        self._expect(True)
        while True:
            try:
                self.browser.connect(CONNECT_S)
                return
            except ConnectFailed as failed:
                if failed is not self._failed:  # not counted yet: its CONNECT was never answered
                    self._connect_failed(self.browser, failed)
                gevent.sleep(AGAIN_S * (0.5 + self.session.rng.random()))

    def disconnect(self) -> None:
        """As a tab that is closed in good order."""
        self._expect(False)
        self.member.parts()
        self.browser.close()

    def drop(self) -> None:
        """Cuts itself off, as a network that fails. It comes back by itself."""
        self._breaks = True
        self.browser.drop()
        self._breaks = False

    def join(self, *rooms: int) -> None:
        """Blocks until the application has acked it. After a reconnection the browser joins its rooms again."""
        self.rooms.update(rooms)
        done = self._join(rooms)
        if done is not None and not done.wait(ACK_S):
            self._request("ack", "join", ACK_S, error=AckTimeout(f"join was not acked within {ACK_S:g} s"))

    def leave(self, *rooms: int) -> None:
        """Blocks until the application has acked it."""
        self.rooms.difference_update(rooms)
        done = Event()

        def left() -> None:
            for room in rooms:
                self.member.left(room)
            done.set()

        for room in rooms:
            self.member.leaves(room)
        if self._ask("leave", [[self._name(room) for room in rooms]], left) and not done.wait(ACK_S):
            self._request("ack", "leave", ACK_S, error=AckTimeout(f"leave was not acked within {ACK_S:g} s"))

    def publish(self, room: int, size: int | None = None) -> None:
        """To all members of the room; does not wait for the ack. A browser that is away publishes nothing: counted."""
        self._publish(room, size or self.session.settings.payload_bytes, "publish")

    def broadcast(self, size: int | None = None) -> None:
        """To all clients of the namespace, as `publish`."""
        self._publish(BROADCAST, size or self.session.settings.payload_bytes, "broadcast")

    def emit(self, event: str, *arguments: Any) -> None:
        """Without an ack. Raises NotConnected."""
        self.browser.emit(event, *arguments)

    def call(self, event: str, *arguments: Any, timeout_s: float = ACK_S) -> list[Any] | None:
        """Blocks until the ack is here. None where there was none: a failed locust request."""
        began, ledger = time.perf_counter(), self.session.ledger
        ledger.waiting[event] += 1
        try:
            answer = self.browser.call(event, *arguments, timeout_s=timeout_s)
        except (AckTimeout, NotConnected) as error:
            ledger.unanswered[event] += isinstance(error, AckTimeout)
            self._request("ack", event, time.perf_counter() - began, error=error)
            if isinstance(error, NotConnected):
                gevent.sleep(0.1)  # it comes back by itself
            return None
        finally:
            ledger.waiting[event] -= 1
        self._acked(event, time.perf_counter() - began, 0)
        return answer

    def take_seat(self) -> None:
        """Connects and joins its room. Who publishes there waits until the machines agree on the time."""
        self.connect()
        self.join(self.seat.room)
        if self.seat.rate:
            self.session.await_clock()

    def talk_from_seat(self) -> None:
        """A message to its room, from those who publish there."""
        if self.seat.rate:
            self.publish(self.seat.room)

    def pace_of_seat(self) -> float:
        """For `wait_time`. Who only listens waits, and is woken by the end of the test."""
        rate = self.seat.rate * self.session.rate_factor
        return self.pace(rate) if rate else IDLE_S

    def pace(self, rate: float) -> float:
        """Seconds until the next emit, so that there are `rate` a second whatever each takes.

        Half a second of delay at most is made up for. The second emit is at a random time, so that publishers spread.
        """
        now = time.perf_counter()
        if self._due_at == 0.0:
            self._due_at = now + self.session.rng.random() / rate
        else:
            self._due_at = max(self._due_at + 1 / rate, now - 0.5)
        return max(0.0, self._due_at - now)

    # what the browser tells: runs in the hub, must not block

    def _heard(self, _: Browser, packet: bytes) -> None:
        self.member.heard(packet)

    def _connected(self, browser: Browser, times: ConnectTimes) -> None:
        phases = {"handshake": times.handshake_s, "connect": times.connect_s, "total": times.total_s}
        if times.upgrade_s is not None:
            phases["upgrade"] = times.upgrade_s
        if self._lost_at is not None:
            phases["back"] = time.perf_counter() - self._lost_at
            self._lost_at = None
        self.session.ledger.connected(browser.engine_sid, phases, again=times.reconnect)
        self.member.connected(browser.transport)
        for phase, seconds in phases.items():
            self._request("connect", phase, seconds)
        if self.rooms:
            self._join(tuple(self.rooms))

    def _disconnected(self, _: Browser, reason: str) -> None:
        ledger = self.session.ledger
        ledger.disconnected(reason, asked=self._breaks or self.member.is_excused or reason in OWN_REASONS)
        for event, began in self._waiting.values():  # they do not come any more; the late ones had their time
            ledger.waiting[event] -= 1
            ledger.unanswered[event] += time.perf_counter() - began > ACK_S
        self._waiting.clear()
        self.member.cut()
        self._lost_at = time.perf_counter() if self._is_expected else None

    def _connect_failed(self, _: Browser, failed: ConnectFailed) -> None:
        self._failed = failed
        counts = self.session.ledger.failed
        reason = f"{failed.phase}: {failed.why}"[:100]
        counts[reason if reason in counts or len(counts) < KINDS_OF_FAILURE else "other reasons"] += 1
        self._request("connect", "attempt", 0.0, error=failed)

    # how it works

    def _expect(self, connected: bool) -> None:
        self.session.expected += connected - self._is_expected
        self._is_expected = connected

    def _join(self, rooms: tuple[int, ...]) -> Event | None:
        done = Event()

        def joined() -> None:
            for room in rooms:
                self.member.joined(room)
            done.set()

        for room in rooms:
            self.member.asks(room)
        return done if self._ask("join", [[self._name(room) for room in rooms]], joined) else None

    def _name(self, room: int) -> str:
        return f"{self.session.run_id}.{room}"

    def _publish(self, room: int, size: int, event: str) -> None:
        ledger = self.session.ledger
        if self.session.hushed:
            return
        if not self.browser.connected:
            ledger.not_published["the publisher was not connected"] += 1
            return
        seq, message = self.publisher.stamp(room, size)
        arguments = [message] if room == BROADCAST else [self._name(room), message]
        if self._ask(event, arguments, lambda: self.publisher.acked(room, seq)):
            ledger.emits += 1

    def _ask(self, event: str, arguments: list[Any], done: Callable[[], None]) -> bool:
        """Sends it; `done` is called when the ack is here. False where the browser is not connected."""
        began, sent_us = time.perf_counter(), wall_us()

        def answered(_: Browser, content: bytes) -> None:
            del self._waiting[number]
            self.session.ledger.waiting[event] -= 1
            done()
            self._learn(sent_us, content)
            self._acked(event, time.perf_counter() - began, len(content))

        try:
            number = self.browser.emit_with_ack(event, *arguments, callback=answered)
        except NotConnected:
            return False
        self._waiting[number] = event, began
        self.session.ledger.waiting[event] += 1
        return True

    def _learn(self, sent_us: int, content: bytes) -> None:
        try:
            (answer,) = msgspec.json.decode(content, type=tuple[Answer])
        except msgspec.MsgspecError:  # another application's handlers: no clock to learn
            return
        if answer.now:
            self.session.ledger.offset.learn(sent_us, wall_us(), round(answer.now * 1e6))

    def _acked(self, event: str, seconds: float, size: int) -> None:
        self.session.ledger.acked(event, round(seconds * 1e6))
        self._request("ack", event, seconds, size=size)

    def _request(self, kind: str, name: str, seconds: float, *, size: int = 0, error: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=seconds * 1e3,
            response_length=size,
            response=None,
            context=self.context(),
            exception=error,
        )
