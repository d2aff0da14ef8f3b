"""`BrowserUser`: a locust user that is a browser. Scenarios subclass it, and so can locustfiles of your own."""

import time
from collections.abc import Callable
from typing import Any, ClassVar

import gevent
import msgspec
from gevent.event import Event
from locust import User
from locust.exception import StopUser

from loadtest.accounting.clock import wall_us
from loadtest.accounting.member import BROADCAST
from loadtest.browser import AckTimeout, Browser, BrowserOptions, ConnectFailed, ConnectTimes, NotConnected
from loadtest.scenarios import session
from loadtest.scenarios.options import Seat, seat

CONNECT_S = 20.0
ACK_S = 10.0
AGAIN_S = 2.0
IDLE_S = 3600.0
KINDS_OF_FAILURE = 50
OWN_REASONS = ("io client disconnect", "vanished")  # the client itself wanted to leave


class Answer(msgspec.Struct):
    """What the application acks: its clock in seconds."""

    now: float = 0.0


class BrowserUser(User):
    """One simulated browser. `on_start` connects it, `on_stop` disconnects it politely.

    `publish`, `broadcast`, `join` and `leave` need a server with the handlers of examples/chat/load_test.py. Each of
    their deliveries is accounted. `emit` and `call` work with any application. The round trip of an acked event becomes
    a request in locust's statistics and a row of the report.
    """

    abstract = True
    scenario: ClassVar[str | None] = None
    losses_allowed: ClassVar[bool] = False
    namespace: ClassVar[str | None] = None  # None: as the option --namespace says
    auth: ClassVar[dict[str, Any] | None] = None
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.session = session.current()
        self.number = self.session.next_slot()
        self.rooms: set[int] = set()
        self.member = self.session.account.member(self.number)
        self.publisher = self.session.account.publisher(self.number)
        self.browser = self.new_browser()
        self._lost_at: float | None = None
        self._due_at = 0.0
        self._is_expected = False
        self._failed: ConnectFailed | None = None  # the failure that was counted last
        self._breaks = False  # True while it cuts itself off
        self._waiting: dict[int, tuple[str, float]] = {}  # number of the ack -> event, and when it was sent

    @property
    def seat(self) -> Seat:
        """The room and the rate that the options give this user."""
        return seat(self.session.settings, self.number)

    def on_start(self) -> None:
        self.connect()

    def on_stop(self) -> None:
        self.disconnect()

    def new_browser(self) -> Browser:
        """A browser that is not connected yet. Its transport is drawn by weight."""
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
        """Blocks until the browser is in the namespace, however long that takes. Failed attempts are counted.

        In a process that takes no part in the run, it does not connect; StopUser ends it with the session.
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
                if failed is not self._failed:  # CONNECT was never answered, so this failure is not counted yet
                    self._connect_failed(self.browser, failed)
                gevent.sleep(AGAIN_S * (0.5 + self.session.rng.random()))

    def disconnect(self) -> None:
        """Disconnects in good order, as when a tab is closed."""
        self._expect(False)
        self.member.parts()
        self.browser.close()

    def drop(self) -> None:
        """Cuts the connection off, as a failing network does. The browser reconnects by itself."""
        self._breaks = True
        self.browser.drop()
        self._breaks = False

    def join(self, *rooms: int) -> None:
        """Joins rooms and blocks until that is acked. After a reconnection the browser joins them again by itself."""
        self.rooms.update(rooms)
        done = self._join(rooms)
        if done is not None and not done.wait(ACK_S):
            self._request("ack", "join", ACK_S, error=AckTimeout(f"join was not acked within {ACK_S:g} s"))

    def leave(self, *rooms: int) -> None:
        """Leaves rooms and blocks until that is acked."""
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
        """Sends a message to the room, without waiting for the ack. While the browser is away, it only counts."""
        self._publish(room, size or self.session.settings.payload_bytes, "publish")

    def broadcast(self, size: int | None = None) -> None:
        """Sends a message to all clients of the namespace, as `publish` does."""
        self._publish(BROADCAST, size or self.session.settings.payload_bytes, "broadcast")

    def emit(self, event: str, *arguments: Any) -> None:
        """Sends an event without an ack. Raises NotConnected."""
        self.browser.emit(event, *arguments)

    def call(self, event: str, *arguments: Any, timeout_s: float = ACK_S) -> list[Any] | None:
        """Sends an event and blocks until its ack is here. None where none came: locust counts a failed request."""
        began, account = time.perf_counter(), self.session.account
        account.waiting[event] += 1
        try:
            answer = self.browser.call(event, *arguments, timeout_s=timeout_s)
        except (AckTimeout, NotConnected) as error:
            account.unanswered[event] += isinstance(error, AckTimeout)
            self._request("ack", event, time.perf_counter() - began, error=error)
            if isinstance(error, NotConnected):
                gevent.sleep(0.1)  # the browser reconnects by itself
            return None
        finally:
            account.waiting[event] -= 1
        self._acked(event, time.perf_counter() - began, 0)
        return answer

    def take_seat(self) -> None:
        """Connects and joins the room of its seat. A publisher then waits until the machines agree on the time."""
        self.connect()
        self.join(self.seat.room)
        if self.seat.rate:
            self.session.await_clock()

    def talk_from_seat(self) -> None:
        """Sends a message to its room, if it is a publisher."""
        if self.seat.rate:
            self.publish(self.seat.room)

    def pace_of_seat(self) -> float:
        """A result for locust's `wait_time`. A user that only listens waits until the test ends."""
        rate = self.seat.rate * self.session.rate_factor
        return self.pace(rate) if rate else IDLE_S

    def pace(self, rate: float) -> float:
        """Seconds until the next emit, so that there are `rate` a second, however long each takes.

        A user that falls behind catches up, but by half a second at most. The second emit comes at a random time, so
        that publishers do not emit all at once.
        """
        now = time.perf_counter()
        if self._due_at == 0.0:
            self._due_at = now + self.session.rng.random() / rate
        else:
            self._due_at = max(self._due_at + 1 / rate, now - 0.5)
        return max(0.0, self._due_at - now)

    # callbacks of the browser: they run in gevent's hub and must not block

    def _heard(self, _: Browser, packet: bytes) -> None:
        self.member.heard(packet)

    def _connected(self, browser: Browser, times: ConnectTimes) -> None:
        phases = {"handshake": times.handshake_s, "connect": times.connect_s, "total": times.total_s}
        if times.upgrade_s is not None:
            phases["upgrade"] = times.upgrade_s
        if self._lost_at is not None:
            phases["back"] = time.perf_counter() - self._lost_at
            self._lost_at = None
        self.session.account.connected(browser.engine_sid, phases, again=times.reconnect)
        self.member.connected(browser.transport)
        for phase, seconds in phases.items():
            self._request("connect", phase, seconds)
        if self.rooms:
            self._join(tuple(self.rooms))

    def _disconnected(self, _: Browser, reason: str) -> None:
        account = self.session.account
        account.disconnected(reason, asked=self._breaks or self.member.is_excused or reason in OWN_REASONS)
        for event, began in self._waiting.values():  # these acks will not come; those that had time enough are missing
            account.waiting[event] -= 1
            account.unanswered[event] += time.perf_counter() - began > ACK_S
        self._waiting.clear()
        self.member.cut()
        self._lost_at = time.perf_counter() if self._is_expected else None

    def _connect_failed(self, _: Browser, failed: ConnectFailed) -> None:
        self._failed = failed
        if self._breaks:  # a scenario cut it off in the midst of an attempt: that is none of the cluster's failures
            return
        counts = self.session.account.failed
        reason = f"{failed.phase}: {failed.why}"[:100]
        counts[reason if reason in counts or len(counts) < KINDS_OF_FAILURE else "other reasons"] += 1
        self._request("connect", "attempt", 0.0, error=failed)

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
        account = self.session.account
        if self.session.hushed:
            return
        if not self.browser.connected:
            account.not_published["the publisher was not connected"] += 1
            return
        seq, message = self.publisher.stamp(room, size)
        arguments = [message] if room == BROADCAST else [self._name(room), message]
        if self._ask(event, arguments, lambda: self.publisher.acked(room, seq)):
            account.emits += 1

    def _ask(self, event: str, arguments: list[Any], done: Callable[[], None]) -> bool:
        """Sends an event; calls `done` when its ack is here. False where the browser is not connected."""
        began, sent_us = time.perf_counter(), wall_us()

        def answered(_: Browser, content: bytes) -> None:
            del self._waiting[number]
            self.session.account.waiting[event] -= 1
            done()
            self._learn(sent_us, content)
            self._acked(event, time.perf_counter() - began, len(content))

        try:
            number = self.browser.emit_with_ack(event, *arguments, callback=answered)
        except NotConnected:
            return False
        self._waiting[number] = event, began
        self.session.account.waiting[event] += 1
        return True

    def _learn(self, sent_us: int, content: bytes) -> None:
        try:
            (answer,) = msgspec.json.decode(content, type=tuple[Answer])
        except msgspec.MsgspecError:  # another application's handlers tell no time
            return
        if answer.now:
            self.session.account.offset.learn(sent_us, wall_us(), round(answer.now * 1e6))

    def _acked(self, event: str, seconds: float, size: int) -> None:
        self.session.account.acked(event, round(seconds * 1e6))
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
