"""A client is slow when it takes nothing, and not when much waits for it. The session machine, input by input."""

from collections.abc import Iterator

from io_node.engineio.api import Outbound
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session import inbound
from io_node.engineio.session.buffers import Buffers
from io_node.engineio.session.effects import AnswerPoll, Closed, CloseSocket, Effect, FlushLater, Watch, WriteSocket
from io_node.engineio.session.limits import Limits
from io_node.engineio.session.machine import EngineSession
from io_node.engineio.wire.packets import open_packet
from sio_cluster.protocol import reasons

LIMITS = Limits(ping_interval_s=25.0, ping_timeout_s=20.0, upgrade_timeout_s=10.0, allow_upgrades=True)
FRAMES = b"x" * 1_000_000


class Life:
    """A session, its owner and a clock."""

    def __init__(self, transport: str) -> None:
        self.counters = EngineCounters()
        self.buffers = Buffers(10**9, lambda: None)
        opening = open_packet("sid", [], 25_000, 20_000, 1_000_000)
        self.session = EngineSession(opening, transport, LIMITS, self.counters, self.buffers, 0.0)
        self.now = 0.0
        if transport == "polling":
            self.session.poll(0.0)
        self.session.flush()

    def send(self, *messages: bytes) -> None:
        for message in messages:
            if self.session.queue.send(Outbound(message)):
                self.do(self.session.flush())

    def do(self, effects: list[Effect]) -> list[Effect]:
        """Carry out what looks for progress. The rest is for the test."""
        if Watch() in effects:
            self.session.watch(self.now)
        return [effect for effect in effects if effect != Watch()]

    def until(self, now: float) -> Iterator[Effect]:
        """All that the clock brings."""
        while self.session.deadline <= now:
            self.now = self.session.deadline
            yield from self.do(self.session.tick(self.now))
        self.now = now


def test_a_websocket_that_takes_nothing_for_a_ping_timeout_is_closed() -> None:
    life = Life("websocket")
    life.session.congested(FRAMES, 900_000, 0.0)
    life.send(b"a", b"b")
    assert list(life.until(19.9)) == []
    assert list(life.until(20.0)) == [CloseSocket(None), Closed(reasons.SLOW_CONSUMER)]
    assert life.counters.slow_consumers == {"stalled": 1}
    assert life.counters.dropped == {"slow_consumer": 2}
    assert life.buffers.waiting_bytes == 0


def test_a_websocket_that_takes_a_little_now_and_then_stays() -> None:
    """Much more than PING_TIMEOUT_MS is needed for what waits. The PING is behind it, so its PONG is late too."""
    life = Life("websocket")
    life.session.congested(FRAMES, 900_000, 0.0)
    life.send(*(b"x" * 1_000_000 for _ in range(50)))
    for seconds in range(15, 200, 15):
        life.session.left(900_000 - seconds, float(seconds) - 0.1)
        assert list(life.until(float(seconds))) == []
    assert life.session.emptied(200.0)[0] != CloseSocket(None)
    assert life.counters.slow_consumers == {}


def test_when_it_then_stops_it_is_closed() -> None:
    life = Life("websocket")
    life.session.congested(FRAMES, 900_000, 0.0)
    life.session.left(800_000, 18.0)
    assert list(life.until(37.9)) == []
    assert list(life.until(38.0)) == [CloseSocket(None), Closed(reasons.SLOW_CONSUMER)]


def test_a_stall_of_the_process_itself_is_no_stall_of_the_client() -> None:
    """A look that comes late counts once."""
    life = Life("websocket")
    life.session.congested(FRAMES, 900_000, 0.0)
    assert life.session.tick(300.0) == [] or life.counters.slow_consumers == {}
    assert life.counters.slow_consumers == {}


def test_what_a_socket_has_taken_proves_that_the_client_lives() -> None:
    """It may have got the PING only now."""
    life = Life("websocket")
    assert list(life.until(25.0)) == [WriteSocket(b"\x81\x012")]
    life.session.congested(FRAMES, 900_000, 25.1)
    life.session.emptied(44.0)
    assert list(life.until(63.9)) == []
    assert list(life.until(64.0)) == [CloseSocket(1000), Closed(reasons.PING_TIMEOUT)]


def test_a_ping_overtakes_what_waits() -> None:
    life = Life("websocket")
    life.session.congested(FRAMES, 900_000, 20.0)
    life.send(b"a", b"b")
    assert list(life.until(25.0)) == []
    assert life.session.emptied(25.1) == [WriteSocket(b"\x81\x012\x81\x024a\x81\x024b")]
    assert life.buffers.waiting_bytes == 0


def test_what_waits_leaves_in_several_turns_and_in_order() -> None:
    life = Life("websocket")
    life.session.congested(FRAMES, 900_000, 0.0)
    messages = [b"%03d" % number + b"x" * 50_000 for number in range(30)]
    life.send(*messages)
    written = []
    effects = life.session.emptied(1.0)
    while effects:
        write, *rest = effects
        assert isinstance(write, WriteSocket)
        assert len(write.frames) < 300_000
        written.append(write.frames)
        if rest != [FlushLater()]:
            break
        effects = life.session.flush()
    assert b"".join(written) == b"".join(Outbound(message).ws_frames for message in messages)
    assert len(written) > 4
    assert life.session.queue.held_bytes == life.buffers.waiting_bytes == 0
    assert life.counters.written == 30


def test_a_session_that_gets_stuck_between_two_turns_goes_on_when_it_drains() -> None:
    life = Life("websocket")
    life.send(b"x" * 200_000)
    life.session.congested(FRAMES, 1, 0.0)
    life.send(b"a" * 200_000, b"b" * 200_000)
    assert life.session.emptied(1.0)[1:] == [FlushLater()]
    life.session.congested(FRAMES, 1, 1.0)
    life.send(b"c")
    assert life.session.flush() == []
    (write,) = life.session.emptied(2.0)
    assert isinstance(write, WriteSocket)
    assert write.frames.endswith(b"b\x81\x024c")
    assert life.buffers.waiting_bytes == 0


def test_a_polling_client_that_fetches_nothing_for_a_ping_timeout_is_closed() -> None:
    life = Life("polling")
    life.now = 3.0
    life.send(b"a")
    assert list(life.until(22.9)) == []
    assert list(life.until(23.0)) == [Closed(reasons.SLOW_CONSUMER)]


def test_a_polling_client_that_fetches_something_stays() -> None:
    life = Life("polling")
    life.send(*(b"x" * 999_999 for _ in range(40)))
    for number in range(1, 41):
        assert [effect for effect in life.until(number * 15.0) if isinstance(effect, Closed)] == []
        (answer,) = life.do(life.session.poll(life.now))
        assert isinstance(answer, AnswerPoll)
        assert len(answer.payload) in (1, 1_000_000, 1_000_002)
        list(inbound.post(life.session, b"3", life.now))
    assert life.counters.slow_consumers == {}


def test_a_payload_on_its_way_counts_until_it_is_taken() -> None:
    life = Life("polling")
    life.send(b"x" * 5_000_000)
    (answer,) = life.session.poll(0.0)
    assert isinstance(answer, AnswerPoll)
    life.session.congested(answer.payload, 5_000_001, 0.0)
    assert life.session.queue.waiting_bytes == 5_000_001
    for seconds in range(15, 90, 15):
        life.session.left(5_000_000 - seconds, float(seconds))
        assert list(life.until(float(seconds))) == []
    life.session.emptied(90.0)
    assert life.session.queue.waiting_bytes == 1
    assert life.buffers.waiting_bytes < 1_000
    (ping,) = life.do(life.session.poll(91.0))
    assert ping == AnswerPoll(b"2")


def test_a_payload_that_nobody_reads_closes() -> None:
    life = Life("polling")
    life.session.congested(FRAMES, 1_000_000, 0.0)
    assert list(life.until(20.0)) == [Closed(reasons.SLOW_CONSUMER)]


def test_closing_waits_for_a_client_that_reads() -> None:
    life = Life("websocket")
    life.session.congested(FRAMES, 900_000, 0.0)
    life.send(b"bye")
    life.session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert life.session.flush() == []
    for seconds in (15.0, 30.0, 45.0):
        life.session.left(900_000 - int(seconds), seconds)
        assert [effect for effect in life.until(seconds) if isinstance(effect, Closed)] == []
    assert life.session.emptied(46.0) == [
        WriteSocket(b"\x81\x044bye"),
        CloseSocket(1000),
        Closed(reasons.SERVER_DISCONNECT),
    ]


def test_closing_does_not_wait_for_one_that_does_not() -> None:
    life = Life("websocket")
    life.session.congested(FRAMES, 900_000, 0.0)
    life.send(b"bye")
    life.session.close(reasons.SERVER_DISCONNECT, 1.0)
    assert list(life.until(21.0))[-1] == Closed(reasons.SERVER_DISCONNECT)
    assert life.counters.slow_consumers == {}
    assert life.buffers.waiting_bytes == 0


def test_a_large_message_before_the_end_is_taken_before_the_socket_closes() -> None:
    life = Life("websocket")
    life.session.queue.send(Outbound(b"x" * 5_000_000))
    life.session.close(reasons.SERVER_DISCONNECT, 1.0)
    write, later = life.session.flush()
    assert isinstance(write, WriteSocket)
    assert later == FlushLater()
    life.session.congested(write.frames, 4_000_000, 1.0)
    assert life.session.flush() == []
    assert life.session.emptied(9.0) == [CloseSocket(1000), Closed(reasons.SERVER_DISCONNECT)]


def test_the_node_may_ask_a_session_to_go() -> None:
    life = Life("websocket")
    life.session.congested(FRAMES, 900_000, 0.0)
    life.send(b"a")
    assert life.session.overflow("buffer_full") == [CloseSocket(None), Closed(reasons.SLOW_CONSUMER)]
    assert life.counters.slow_consumers == {"buffer_full": 1}
    assert life.counters.dropped == {"slow_consumer": 1}
    assert life.buffers.waiting_bytes == 0
