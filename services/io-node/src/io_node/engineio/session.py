"""One Engine.IO v4 session as a sans-IO state machine: no socket, no clock, no task.

Each input returns the effects that its owner must carry out, in order. `now` is in seconds of any monotonic clock; the
owner calls `tick` when `deadline` has come. The machine covers both transports and the way from one to the other:

    polling --open_probe--> polling, a WebSocket beside it --`2probe`--> probed --`5`--> websocket
                                     '--- silence, anything else: the WebSocket closes, polling goes on

Messages leave once and in order, by whatever transport carries them at that moment. What waits is bounded in bytes.
The behaviour is that of Socket.IO's own server, except where that one would wait or loop for ever.
"""

from collections.abc import Iterator
from enum import Enum
from typing import assert_never

from io_node.engineio.api import Outbound
from io_node.engineio.effects import (
    AnswerPoll,
    Closed,
    CloseProbe,
    CloseSocket,
    Effect,
    PartSocket,
    Upgraded,
    WriteProbe,
    WriteSocket,
)
from io_node.engineio.limits import EngineCounters, Limits
from io_node.engineio.packets import (
    CLOSE,
    NOOP,
    PING,
    PROBE_PONG,
    Close,
    Control,
    Message,
    Noop,
    Open,
    Packet,
    Ping,
    Pong,
    Upgrade,
    decode_packet,
    decode_payload,
    encode_payload,
)
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import MalformedPacket

_NEVER = float("inf")
_GOING_AWAY = 1001  # RFC 6455 section 7.4.1
_FIRST_NOOP_S = 0.1
"""As Socket.IO's own server: a poll that a message answers meanwhile needs no NOOP, and its client's tests count."""
_LAST_POLL_S = 0.1
"""How long a client that closed by polling has for the poll that it sent at the same time, on another connection."""
_LAST_POSTS_S = 1.0
"""How long POSTs are taken of a client that polled, once a node that drains has answered its last poll."""
_LATE_S = 0.05
"""A PING later than this was held up by a stall of the process: the client gets its whole time to answer."""


class State(Enum):
    OPEN = "open"
    CLOSING = "closing"
    """What was sent still leaves; nothing is received. Of a node that drains: both directions go on."""
    PARTING = "parting"
    """Only as a node drains: nothing leaves any more; what the client sent before it heard of that is received."""
    CLOSED = "closed"


_OPEN = State.OPEN  # in the hot path: an enum's attribute costs a look-up in its metaclass


class Probe(Enum):
    NONE = "none"
    OPENED = "opened"
    PROBED = "probed"


class EngineSession:
    """The state of one session. Only `send` and `close` may be called from within the handling of an effect."""

    __slots__ = (
        "_backlog",
        "_close_at",
        "_close_reason",
        "_congested",
        "_controls",
        "_counters",
        "_heartbeat_at",
        "_held",
        "_limits",
        "_noop_after_s",
        "_noop_at",
        "_overflowed",
        "_part_until",
        "_paused",
        "_payload_packets",
        "_pong_due",
        "_probe",
        "_queue",
        "_upgrade_at",
        "poll_waiting",
        "state",
        "transport",
    )

    def __init__(
        self,
        opening: Control,
        transport: str,
        limits: Limits,
        counters: EngineCounters,
        now: float,
        payload_packets: int | None = None,
    ) -> None:
        """`opening` is the open packet: it leaves first. `payload_packets` is the most that a poll's answer holds."""
        self._payload_packets = payload_packets
        self.state = State.OPEN
        self.transport = transport
        self.poll_waiting = False
        self._limits = limits
        self._counters = counters
        self._queue: list[Outbound | Control] = [opening]
        self._controls = 1  # how many of the queue are packets of our own, which the ledger does not count
        self._held = opening.size
        self._backlog = 0
        self._congested = False
        self._overflowed = False
        self._paused = False
        self._pong_due = False
        self._heartbeat_at = now + limits.ping_interval_s
        self._close_at = _NEVER
        self._close_reason = ""
        self._part_until = _NEVER
        self._probe = Probe.NONE
        self._upgrade_at = _NEVER
        self._noop_at = _NEVER
        self._noop_after_s = _FIRST_NOOP_S

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min(self._heartbeat_at, self._upgrade_at, self._noop_at, self._close_at)

    @property
    def writable(self) -> bool:
        """Whether a message would leave at the end of this tick."""
        return self.poll_waiting if self.transport == "polling" else not self._congested

    @property
    def held_bytes(self) -> int:
        """What waits in the session itself."""
        return self._held

    @property
    def waiting(self) -> int:
        """Messages that wait in the session itself."""
        return len(self._queue) - self._controls

    # --- from the Socket.IO side ------------------------------------------------------------------------------------

    def send(self, message: Outbound) -> bool:
        """Queue a message. True if `flush` must be called at the end of the tick: a queue that was empty has filled."""
        if self._overflowed or (self.state is not _OPEN and not self._moves_on):
            self._counters.dropped["connection_closed"] += 1
            return False
        if message.volatile and not self.writable:
            self._counters.dropped["volatile"] += 1
            return False
        waiting = self._held + self._backlog
        if waiting and waiting + message.size > self._limits.send_buffer_bytes:
            self._overflowed = True
            self._counters.dropped["slow_consumer"] += 1
            self._drop_queue("slow_consumer")
            return True
        queue = self._queue
        queue.append(message)
        self._held += message.size
        return len(queue) == 1

    def close(self, reason: str, now: float) -> list[Effect]:
        """Begin to close; `flush` must be called. A client that does not fetch the rest in PING_TIMEOUT_MS loses it."""
        if self.state is not State.OPEN:
            return []
        self.state = State.CLOSING
        self._close_reason = reason
        self._close_at = now + self._limits.ping_timeout_s
        self._part_until = now + _LAST_POSTS_S
        return self._drop_probe()

    def flush(self) -> list[Effect]:
        """What can leave now."""
        if self.state is State.CLOSED:
            return []
        if self._overflowed:
            self._counters.slow_consumers += 1
            return self._end(reasons.SLOW_CONSUMER)
        if self.transport == "polling":
            return self._flush_polling()
        closing = self.state is State.CLOSING
        effects: list[Effect] = []
        if self._queue and (closing or not self._congested):
            effects.append(WriteSocket(self._take_frames()))
        if not closing:
            return effects
        if self._close_reason != reasons.NODE_DRAINED:
            return effects + self._end(self._close_reason)
        self.state = State.PARTING
        return [*effects, PartSocket(_GOING_AWAY)]

    def fail(self, reason: str) -> list[Effect]:
        """Close at once. What was queued is lost. A session that parted ends for the reason for which it did."""
        return self._end(self._close_reason if self.state is State.PARTING else reason)

    def malformed(self) -> list[Effect]:
        """The client broke a protocol, this one or the one above it."""
        if self.state is not State.CLOSED:
            self._counters.malformed += 1
        return self._end(reasons.PARSE_ERROR)

    def paused(self, paused: bool, now: float) -> None:
        """Whether the owner reads from the client. While it does not, a PONG cannot arrive and is not waited for."""
        self._paused = paused
        if not paused and self._pong_due:
            self._heartbeat_at = max(self._heartbeat_at, now + self._limits.ping_timeout_s)

    # --- from a clock -----------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """All that is due by `now`."""
        if self.state is State.CLOSED:
            return []
        if now >= self._close_at:
            return self._end(self._close_reason)
        effects: list[Effect] = []
        if now >= self._heartbeat_at:
            if self._pong_due and not self._paused:
                return self._end(reasons.PING_TIMEOUT)
            effects += self._beat(now)
        if now >= self._upgrade_at:
            effects += self._drop_probe()
        if now >= self._noop_at:
            effects += self._release_poll()
        return effects

    # --- from HTTP --------------------------------------------------------------------------------------------------

    def poll(self, now: float) -> list[Effect]:
        """A poll waits for its answer. Only while `poll_waiting` is False and `transport` is polling."""
        self.poll_waiting = True
        if self.state is State.CLOSING:
            self._part_until = now + _LAST_POSTS_S
        effects = self._flush_polling()
        if self.poll_waiting and self._probe is Probe.PROBED:
            # The client lets its last poll come home before it upgrades. Two polls can race with `3probe`, so each is
            # released; a client that goes on polling meets growing pauses, not a loop of NOOPs.
            self._noop_at = now + self._noop_after_s
            self._noop_after_s *= 2
        return effects

    def post(self, body: bytes, now: float) -> Iterator[list[Effect]]:
        """The effects of a POST, one packet at a time: the owner may pause in between, also where a packet has none.
        Ends where the session ends."""
        try:
            for packet in decode_payload(body):
                if not self._receives:
                    return
                yield self._received(packet, now)
        except MalformedPacket:
            yield self.malformed()

    # --- from the WebSocket that carries the session ----------------------------------------------------------------

    def text(self, data: str, now: float) -> list[Effect]:
        """A text message."""
        if self.state is State.CLOSED:
            return []
        if data[:1] == "4":
            return [Message(data[1:])] if self.state is _OPEN or self._receives else []
        try:
            packet = decode_packet(data)
        except MalformedPacket:
            return self.malformed()
        return self._received(packet, now)

    def binary(self, data: bytes) -> list[Effect]:
        """A binary message."""
        return [Message(data)] if self._receives else []

    def congested(self, backlog: int) -> None:
        """The socket takes no more; `backlog` bytes wait in its own buffer."""
        self._congested = True
        self._backlog = backlog

    def drained(self) -> list[Effect]:
        """The socket takes more."""
        self._congested = False
        self._backlog = 0
        return self.flush()

    # --- from the WebSocket that probes -----------------------------------------------------------------------------

    def open_probe(self, now: float) -> bool:
        """A WebSocket came for this session. False: it cannot upgrade (it has, it does, it may not, it closes)."""
        if (
            self.state is not State.OPEN
            or self.transport != "polling"
            or self._probe is not Probe.NONE
            or not self._limits.allow_upgrades
        ):
            return False
        self._probe = Probe.OPENED
        self._upgrade_at = now + self._limits.upgrade_timeout_s
        self._noop_after_s = _FIRST_NOOP_S
        return True

    def probe_text(self, data: str) -> list[Effect]:
        """A text message on the WebSocket that probes: `2probe`, then `5`. Anything else ends the probe."""
        if self._probe is Probe.NONE:
            return []
        if data == "2probe":
            self._probe = Probe.PROBED
            if self.poll_waiting:
                self._noop_at = self._upgrade_at - self._limits.upgrade_timeout_s + _FIRST_NOOP_S
            return [WriteProbe(PROBE_PONG.ws_frames)]
        if data == "5" and self._probe is Probe.PROBED:
            return self._upgrade()
        return self._drop_probe()

    def probe_closed(self) -> list[Effect]:
        """The WebSocket that probed is gone, or sent what it may not."""
        return self._drop_probe()

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _moves_on(self) -> bool:
        """Whether a node that drains has told the client to go, but nothing has reached it yet."""
        return self.state is State.CLOSING and self._close_reason == reasons.NODE_DRAINED

    @property
    def _receives(self) -> bool:
        return self.state is State.OPEN or self.state is State.PARTING or self._moves_on

    def _received(self, packet: Packet, now: float) -> list[Effect]:
        match packet:
            case Message():
                return [packet] if self._receives else []
            case Pong():
                self._pong_due = False
                self._heartbeat_at = now + self._limits.ping_interval_s
                return []
            case Close():
                return self._part(now)
            case Noop():
                return []
            case Ping():  # in v4 the server sends PINGs
                return self._end(reasons.TRANSPORT_ERROR)
            case Open() | Upgrade():
                return self.malformed()
            case _:
                assert_never(packet)

    def _beat(self, now: float) -> list[Effect]:
        """A PING. A client that we ourselves do not read from gets more of them, one waiting at most: without any it
        would give us up."""
        due = self._heartbeat_at if now - self._heartbeat_at < _LATE_S else now
        self._heartbeat_at = due + self._limits.ping_timeout_s
        if self.state is not State.OPEN or (self._pong_due and self._controls):
            return []
        self._pong_due = True
        self._queue.append(PING)
        self._controls += 1
        self._held += PING.size
        return self.flush()

    def _upgrade(self) -> list[Effect]:
        effects = self._release_poll()
        self._clear_probe()
        self.transport = "websocket"
        self._counters.upgraded += 1
        return [*effects, Upgraded(), *self.flush()]

    def _release_poll(self) -> list[Effect]:
        self._noop_at = _NEVER
        if not self.poll_waiting:
            return []
        self.poll_waiting = False
        return [AnswerPoll(NOOP.polling_packets[0])]

    def _flush_polling(self) -> list[Effect]:
        closing = self.state is State.CLOSING
        if not self.poll_waiting or not (self._queue or closing or self.state is State.PARTING):
            return []
        if closing and self._close_reason == reasons.NODE_DRAINED and self._fits():
            self.state = State.PARTING
            self._close_at = self._part_until
        elif closing and self._fits():
            answer = NOOP if self._close_reason == reasons.CLIENT_DISCONNECT else CLOSE
            return self._end(self._close_reason, answer=answer, keep=True)
        self.poll_waiting = False
        self._noop_at = _NEVER
        return [AnswerPoll(self._take_payload())]

    def _take_frames(self) -> bytes:
        queue = self._queue
        self._queue = []
        self._held = 0
        self._counters.written += len(queue) - self._controls
        self._controls = 0
        return queue[0].ws_frames if len(queue) == 1 else b"".join([message.ws_frames for message in queue])

    def _fits(self) -> bool:
        """Whether one payload takes all that is queued, and a CLOSE."""
        bound = self._payload_packets
        return bound is None or sum(len(message.polling_packets) for message in self._queue) < bound

    def _take_payload(self) -> bytes:
        """As much of the queue as one payload may hold; a message is never divided."""
        queue, self._queue = self._queue, []
        bound = self._payload_packets
        packets: list[bytes] = []
        for at, message in enumerate(queue):
            more = message.polling_packets
            if bound is not None and packets and len(packets) + len(more) > bound:
                self._queue = queue[at:]
                break
            packets += more
            self._held -= message.size
        controls = sum(isinstance(message, Control) for message in self._queue)
        self._counters.written += len(queue) - len(self._queue) - (self._controls - controls)
        self._controls = controls
        return encode_payload(packets)

    def _drop_queue(self, why: str = "connection_closed") -> None:
        if self.waiting:
            self._counters.dropped[why] += self.waiting
        self._queue = []
        self._controls = 0
        self._held = 0

    def _drop_probe(self) -> list[Effect]:
        if self._probe is Probe.NONE:
            return []
        self._clear_probe()
        return [CloseProbe()]

    def _clear_probe(self) -> None:
        self._probe = Probe.NONE
        self._upgrade_at = _NEVER
        self._noop_at = _NEVER

    def _part(self, now: float) -> list[Effect]:
        """The client closed. Its last poll may have been overtaken by that on the way, and is waited for."""
        if self.transport != "polling" or self.poll_waiting or self.state is not State.OPEN:
            return self._end(reasons.CLIENT_DISCONNECT, answer=NOOP)
        self._drop_queue()
        effects = self.close(reasons.CLIENT_DISCONNECT, now)
        self._close_at = now + _LAST_POLL_S
        return effects

    def _end(self, reason: str, *, answer: Control = CLOSE, keep: bool = False) -> list[Effect]:
        """Close. A waiting poll gets `answer`, behind what is queued if `keep`.

        A drained node says no CLOSE: after one on polling the Python client does not come back. It gets what is
        queued, or an empty answer, which stands for an unknown session.
        """
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        effects: list[Effect] = []
        if self.poll_waiting:
            self.poll_waiting = False
            if not keep:
                self._drop_queue()
            if reason != reasons.NODE_DRAINED:
                self._queue.append(answer)
                self._controls += 1
            effects.append(AnswerPoll(self._take_payload()))
        self._drop_queue()
        effects += self._drop_probe()
        if self.transport == "websocket":
            effects.append(CloseSocket(_close_code(reason)))
        self._heartbeat_at = self._close_at = _NEVER
        return [*effects, Closed(reason)]


def _close_code(reason: str) -> int | None:
    """The WebSocket's close code (RFC 6455 section 7.4.1), None where nobody would read it."""
    match reason:
        case reasons.SLOW_CONSUMER:
            return None
        case reasons.NODE_DRAINED:
            return _GOING_AWAY
        case reasons.PARSE_ERROR | reasons.TRANSPORT_ERROR:
            return 1008
        case _:
            return 1000
