"""Random lives of a session, judged by a model that knows only what was sent."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from io_node.engineio.api import Bundle, Outbound
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session import inbound
from io_node.engineio.session.buffers import Buffers
from io_node.engineio.session.effects import (
    AnswerPoll,
    Closed,
    CloseProbe,
    CloseSocket,
    Effect,
    FlushLater,
    PartSocket,
    Upgraded,
    Watch,
    WriteProbe,
    WriteSocket,
)
from io_node.engineio.session.limits import Limits
from io_node.engineio.session.machine import EngineSession, State
from io_node.engineio.wire.packets import Message, open_packet
from sio_cluster.protocol import reasons

LIMITS = Limits(ping_interval_s=25.0, ping_timeout_s=20.0, upgrade_timeout_s=10.0, allow_upgrades=True)
OPENING = open_packet("sid", [], 1, 1, 1)


RARELY = st.sampled_from(range(8))
"""0 lets what ends a session happen; most sessions should live long enough to be worth judging."""


class Lives(RuleBasedStateMachine):
    """A client, a clock and an owner of one session, all acting at random."""

    @initialize(
        transport=st.sampled_from(["polling", "polling", "websocket"]),
        healthy=st.booleans(),
        bound=st.sampled_from([None, 3]),
    )
    def begin(self, transport: str, healthy: bool, bound: int | None) -> None:
        self.healthy = healthy  # polls again, and answers PINGs
        self.pong_due = False
        self.counters = EngineCounters()
        self.buffers = Buffers(10**9, lambda: None)
        self.now = 0.0
        self.session = EngineSession(OPENING, transport, LIMITS, self.counters, self.buffers, self.now, bound)
        self.offered = 0
        self.sent: list[bytes] = []
        self.arrived: list[bytes] = []
        self.closed: list[str] = []
        self.polls = 0
        self.socket = transport == "websocket"
        self.probe = False
        self.flush_due = False
        self.opened = False
        self.upgrades = 0
        self.drained = False
        self.full = False
        self.probed = False
        self.take(self.session.flush())

    # --- the owner ------------------------------------------------------------------------------------------------

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert not self.closed, "an effect after the end"
            match effect:
                case AnswerPoll(payload):
                    assert self.polls == 1, "an answer without a poll"
                    self.polls = 0
                    self.read(payload.split(b"\x1e"))
                case WriteSocket(frames):
                    assert self.socket
                    assert not self.full or self.session.state is not State.OPEN, "a full socket is spared"
                    self.read(packets_of(frames))
                case WriteProbe(frames):
                    assert self.probe
                    assert packets_of(frames) == [b"3probe"]
                case CloseProbe():
                    assert self.probe
                    self.probe = False
                case Upgraded():
                    assert self.probe
                    self.probe, self.socket = False, True
                    self.upgrades += 1
                case CloseSocket():
                    assert self.socket
                    self.socket = False
                case PartSocket():
                    assert self.socket
                    assert self.drained
                case Closed(reason):
                    self.closed.append(reason)
                case FlushLater():
                    self.flush_due = True
                case Watch():
                    self.session.watch(self.now)
                case Message():
                    pass

    def read(self, packets: list[bytes]) -> None:
        assert packets[-1] != b"1" or len(packets) == 1, "CLOSE leaves alone"
        for packet in packets:
            if packet[:1] == b"4":
                self.arrived.append(packet[1:])
            elif packet == OPENING.polling_packets[0]:
                assert not self.opened
                assert not self.arrived
                self.opened = True
            else:
                self.pong_due |= packet == b"2"
                assert packet in (b"1", b"2", b"6") or (packet == b"" and self.drained)

    @rule(sizes=st.lists(st.integers(0, 60), min_size=1, max_size=4), volatile=st.booleans(), together=st.booleans())
    def send(self, sizes: list[int], volatile: bool, together: bool) -> None:
        """Messages of which each second one is volatile or none is, in one go or one by one."""
        messages = [
            Outbound(b"%d:" % (self.offered + number) + b"x" * size, volatile=volatile and number % 2 == 0)
            for number, size in enumerate(sizes)
        ]
        for sent in [Bundle(messages)] if together else messages:
            stays = self.session.queue.takes, self.session.queue.stuck
            self.flush_due |= self.session.queue.send(sent)
            for message in sent.messages if isinstance(sent, Bundle) else [sent]:
                self.offered += 1
                if stays == (True, False) or (stays[0] and not message.volatile):
                    self.sent.append(message.packet or b"")

    @rule(at_once=st.booleans())
    def flush(self, at_once: bool) -> None:
        """The owner asks for frames first. Another way to flush begins within the session."""
        self.flush_due = False
        frames = self.session.take_frames() if at_once and self.socket else b""
        self.take([WriteSocket(frames)] if frames else self.session.flush())

    @rule(reason=st.sampled_from([reasons.SERVER_DISCONNECT, reasons.NODE_DRAINED]), fate=RARELY)
    @precondition(lambda self: self.session.state is State.OPEN)
    def close(self, reason: str, fate: int) -> None:
        if fate:
            return
        self.drained = reason == reasons.NODE_DRAINED
        self.take(self.session.close(reason, self.now))
        self.flush_due = True

    @rule(wait_s=st.sampled_from([0.01, 0.1, 1.0, 9.0, 21.0]))
    def time_passes(self, wait_s: float) -> None:
        until = self.now + wait_s
        while self.session.deadline <= until:
            self.now = max(self.now, self.session.deadline)
            before = self.session.deadline
            self.take(self.session.tick(self.now))
            self.behave()
            assert self.session.deadline > before, "a deadline that does not move is a busy loop"
        self.now = until
        self.take(self.session.tick(self.now))
        self.behave()

    def behave(self) -> None:
        if not self.healthy or self.closed:
            return
        if self.session.transport == "polling" and not self.polls:
            self.poll(1)
        if self.pong_due:
            self.pong_due = False
            if self.socket:
                self.frame("3")
            else:
                self.post(b"3")

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.session.heartbeat.pause(paused, self.now)

    # --- the client -----------------------------------------------------------------------------------------------

    @rule(fate=RARELY)
    @precondition(lambda self: not self.closed and self.session.transport == "polling")
    def poll(self, fate: int) -> None:
        if self.polls and fate:
            return
        if self.polls:
            self.take(self.session.end(reasons.TRANSPORT_ERROR))
            return
        self.polls = 1
        self.take(self.session.poll(self.now))

    @rule(fate=RARELY)
    @precondition(lambda self: self.polls == 1)
    def cancel_poll(self, fate: int) -> None:
        if not fate:
            self.take(self.session.end(reasons.TRANSPORT_ERROR))

    @rule(body=st.sampled_from([b"1", b"", b"?", b"4a\x1e?", b"2"]), fate=RARELY)
    @precondition(lambda self: self.session.transport == "polling")
    def post_the_end(self, body: bytes, fate: int) -> None:
        if not fate:
            self.post(body)

    @rule(body=st.sampled_from([b"3", b"4a", b"4a\x1e4b\x1e3", b"6"]))
    @precondition(lambda self: self.session.transport == "polling")
    def post(self, body: bytes) -> None:
        for effects in inbound.post(self.session, body, self.now):
            self.take(effects)

    @rule(data=st.sampled_from(["1", "", "?", "2probe", "5"]), fate=RARELY)
    @precondition(lambda self: self.socket)
    def frame_of_the_end(self, data: str, fate: int) -> None:
        if not fate:
            self.frame(data)

    @rule(data=st.sampled_from(["3", "4a"]))
    @precondition(lambda self: self.socket)
    def frame(self, data: str) -> None:
        self.take(inbound.text(self.session, data, self.now))

    @rule(backlog=st.integers(1, 900))
    @precondition(lambda self: self.socket)
    def congest(self, backlog: int) -> None:
        if self.full:
            self.session.left(backlog, self.now)
            return
        self.full = True
        self.session.congested(b"x" * 900, backlog, self.now)

    @rule()
    @precondition(lambda self: self.socket)
    def take_the_rest(self) -> None:
        self.flush_due = self.full = False
        self.take(self.session.emptied(self.now))

    @rule(fate=RARELY)
    @precondition(lambda self: self.socket)
    def lose_socket(self, fate: int) -> None:
        if not fate:
            self.take(self.session.end(reasons.TRANSPORT_CLOSE))

    @rule()
    def open_probe(self) -> None:
        if inbound.open_probe(self.session, self.now):
            assert not self.probe
            assert not self.socket
            self.probe = True
            self.probed = False

    @rule(data=st.sampled_from(["2probe", "2probe", "2probe", "5", "4a", "?"]))
    @precondition(lambda self: self.probe)
    def probe_frame(self, data: str) -> None:
        self.probed |= data == "2probe"
        self.take(inbound.probe_text(self.session, data))

    @rule(size=st.integers(0, 60), poll=st.booleans())
    @precondition(lambda self: not self.probe and not self.socket and self.session.state is State.OPEN)
    def whole_upgrade(self, size: int, poll: bool) -> None:
        self.open_probe()
        self.probe_frame("2probe")
        if poll:
            self.poll(1)
        self.send([size], volatile=False, together=False)
        self.upgrade()

    @rule()
    @precondition(lambda self: self.probe and self.probed)
    def upgrade(self) -> None:
        self.take(inbound.probe_text(self.session, "5"))
        assert self.upgrades == 1
        assert self.socket or self.closed, "one that was closing ends when the WebSocket has taken over"

    @rule(fate=RARELY)
    @precondition(lambda self: self.probe)
    def lose_probe(self, fate: int) -> None:
        if not fate:
            self.take(inbound.probe_closed(self.session))

    # --- what holds always ----------------------------------------------------------------------------------------

    @invariant()
    def order_is_kept_and_nothing_doubled(self) -> None:
        assert self.arrived == self.sent[: len(self.arrived)]

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """What can leave has left, once the owner has flushed."""
        if self.session.state is State.OPEN and not self.flush_due and not self.session.queue.stuck:
            assert self.arrived == self.sent

    @invariant()
    def every_message_is_accounted_for(self) -> None:
        """The counters balance at any time, and what counts as written has arrived."""
        assert self.offered == self.counters.written + self.counters.dropped.total() + self.session.queue.messages
        assert self.counters.written == len(self.arrived)

    @invariant()
    def it_ends_once(self) -> None:
        assert len(self.closed) <= 1
        assert bool(self.closed) == (self.session.state is State.CLOSED)
        assert self.session.state is not State.OPEN or self.session.queue.held_bytes == sum(
            message.size for message in self.session.queue.items
        )
        if self.closed:
            assert self.polls == 0, "a poll is left hanging"
            assert not self.socket
            assert not self.probe
            assert self.session.queue.held_bytes == 0

    @invariant()
    def what_stays_is_counted(self) -> None:
        """The buffers of the node know what waits in a session that is stuck. At its end nothing is left in them."""
        stuck = self.session.state is not State.CLOSED and self.session.queue.stuck
        counted = self.buffers.waiting_bytes
        assert counted == 0 if self.closed else counted >= 0
        assert not stuck or counted >= self.session.queue.held_bytes

    @invariant()
    def it_upgrades_once(self) -> None:
        assert self.upgrades <= 1
        assert not (self.polls and self.session.transport == "websocket"), "a poll is left hanging"


def packets_of(frames: bytes) -> list[bytes]:
    """The payloads of short unmasked frames."""
    packets = []
    while frames:
        assert frames[0] == 0x81
        assert frames[1] < 126
        packets.append(frames[2 : 2 + frames[1]])
        frames = frames[2 + frames[1] :]
    return packets


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=3 * settings().max_examples // 2, stateful_step_count=80, deadline=None)
