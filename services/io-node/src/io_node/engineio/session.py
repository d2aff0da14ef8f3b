"""One Engine.IO v4 session as a sans-IO state machine: no socket, no clock, no task.

Each input returns the effects that its owner must carry out, in order. `now` is in seconds of any monotonic clock. The
owner calls `tick` when `deadline` has come. The machine covers both transports, and the upgrade from polling to
WebSocket (`upgrade`).

Messages leave once and in order, by the transport that the session has at that moment. What waits is bounded in bytes.
The behaviour is that of Socket.IO's own server, except where that one would wait or loop for ever.

The file is longer than others because the queue stays inside the session: `send` and `flush` run for every delivery,
and a queue object between them would cost each an attribute more.
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
from io_node.engineio.frames import CloseCode
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
from io_node.engineio.upgrade import NEVER, Probe
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import MalformedPacket

_LAST_POLL_S = 0.1
"""A polling client that sends CLOSE may have sent a poll on another connection. How long the session waits for it."""
_LAST_POSTS_S = 1.0
"""How long a draining node takes POSTs of a client after it has answered the client's last poll."""
_LATE_S = 0.05
"""When a PING is sent later than this, the process had stalled. Then the client gets its whole time to answer."""


class State(Enum):
    OPEN = "open"
    CLOSING = "closing"
    """What was sent still leaves, and nothing is received. While the node drains, both directions go on."""
    PARTING = "parting"
    """Only while the node drains. Nothing leaves any more. What the client sent before it knew is still received."""
    CLOSED = "closed"


_OPEN = State.OPEN  # for the hot path: `State.OPEN` costs a look-up in the enum's metaclass


class EngineSession:
    """The state of one session. While an effect is carried out, only `send` and `close` may be called."""

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
        "_overflowed",
        "_part_until",
        "_paused",
        "_payload_packets",
        "_pong_due",
        "_probe",
        "_queue",
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
        """`opening` is the open packet, which leaves first.

        `payload_packets` is how many packets the answer to a poll may hold. None: any number.
        """
        self._payload_packets = payload_packets
        self.state = State.OPEN
        self.transport = transport
        self.poll_waiting = False
        self._limits = limits
        self._counters = counters
        self._queue: list[Outbound | Control] = [opening]
        self._controls = 1  # how many in the queue are the engine's own packets, which are not counted
        self._held = opening.size
        self._backlog = 0
        self._congested = False
        self._overflowed = False
        self._paused = False
        self._pong_due = False
        self._heartbeat_at = now + limits.ping_interval_s
        self._close_at = NEVER
        self._close_reason = ""
        self._part_until = NEVER
        self._probe: Probe | None = None

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        deadline = min(self._heartbeat_at, self._close_at)
        probe = self._probe
        return deadline if probe is None else min(deadline, probe.ends_at, probe.noop_at)

    @property
    def writable(self) -> bool:
        """Whether a message would leave at the end of this tick."""
        return self.poll_waiting if self.transport == "polling" else not self._congested

    @property
    def held_bytes(self) -> int:
        """How many bytes wait in the session."""
        return self._held

    @property
    def waiting(self) -> int:
        """How many messages wait in the session."""
        return len(self._queue) - self._controls

    # --- from the Socket.IO side ------------------------------------------------------------------------------------

    def send(self, message: Outbound) -> bool:
        """Queue a message. True: the queue was empty, so `flush` must be called at the end of the tick."""
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
        """Begin to close. `flush` must be called. The client has PING_TIMEOUT_MS to fetch what is queued."""
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
        return [*effects, PartSocket(CloseCode.GOING_AWAY)]

    def fail(self, reason: str) -> list[Effect]:
        """Close at once. What was queued is lost. A session that is parting keeps the reason that it parted for."""
        return self._end(self._close_reason if self.state is State.PARTING else reason)

    def malformed(self) -> list[Effect]:
        """The client broke the Engine.IO protocol: close at once, as Socket.IO's own server does."""
        if self.state is not State.CLOSED:
            self._counters.malformed += 1
        return self._end(reasons.PARSE_ERROR)

    def malformed_message(self, now: float) -> list[Effect]:
        """The client broke the protocol above Engine.IO: close, but let what is queued leave first.

        So a client that polls still gets, for instance, the answer to its CONNECT, and then CLOSE. Meanwhile what else
        it sends is ignored. Socket.IO's own server does the same.
        """
        if self.state is not State.OPEN:
            return self.malformed()
        self._counters.malformed += 1
        return self.close(reasons.PARSE_ERROR, now) + self.flush()

    def paused(self, paused: bool, now: float) -> None:
        """Say whether reading from the client is paused. Then no PONG can arrive, and none is waited for."""
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
        probe = self._probe
        if probe is not None and now >= probe.ends_at:
            effects += self._drop_probe()
        elif probe is not None and now >= probe.noop_at:
            effects += self._release_poll()
        return effects

    # --- from HTTP --------------------------------------------------------------------------------------------------

    def poll(self, now: float) -> list[Effect]:
        """A poll came. Call it only while `poll_waiting` is False and `transport` is polling."""
        self.poll_waiting = True
        if self.state is State.CLOSING:
            self._part_until = now + _LAST_POSTS_S
        effects = self._flush_polling()
        if self.poll_waiting and self._probe is not None and self._probe.probed:
            self._probe.on_poll(now)
        return effects

    def post(self, body: bytes, now: float) -> Iterator[list[Effect]]:
        """A POST came. Yields the effects of one packet at a time, so that the owner may pause in between.

        Some packets have no effects, which gives []. Ends early where the session ends.
        """
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
        """A WebSocket came for this session. False: the session cannot upgrade.

        It has upgraded, an upgrade is under way, upgrades are not allowed, or it closes.
        """
        if (
            self.state is not State.OPEN
            or self.transport != "polling"
            or self._probe is not None
            or not self._limits.allow_upgrades
        ):
            return False
        self._probe = Probe(now, self._limits.upgrade_timeout_s)
        return True

    def probe_text(self, data: str) -> list[Effect]:
        """A text message on the WebSocket that probes: `2probe`, then `5`. Anything else ends the probe."""
        if self._probe is None:
            return []
        if data == "2probe":
            self._probe.on_probe(poll_waits=self.poll_waiting)
            return [WriteProbe(PROBE_PONG.ws_frames)]
        if data == "5" and self._probe.probed:
            return self._move_to_websocket()
        return self._drop_probe()

    def probe_closed(self) -> list[Effect]:
        """The WebSocket that probed is gone, or sent what it may not."""
        return self._drop_probe()

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _moves_on(self) -> bool:
        """Whether the node drains and this session closes, but the client was not told yet."""
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
        """Send a PING.

        A client whose reading is paused cannot be asked for a PONG, but it gets PINGs, at most one of them waiting:
        without any it would give the connection up.
        """
        due = self._heartbeat_at if now - self._heartbeat_at < _LATE_S else now
        self._heartbeat_at = due + self._limits.ping_timeout_s
        if self.state is not State.OPEN or (self._pong_due and self._controls):
            return []
        self._pong_due = True
        self._queue.append(PING)
        self._controls += 1
        self._held += PING.size
        return self.flush()

    def _move_to_websocket(self) -> list[Effect]:
        effects = self._release_poll()
        self._probe = None
        self.transport = "websocket"
        self._counters.upgraded += 1
        return [*effects, Upgraded(), *self.flush()]

    def _release_poll(self) -> list[Effect]:
        if not self._take_poll():
            return []
        return [AnswerPoll(NOOP.polling_packets[0])]

    def _take_poll(self) -> bool:
        """Whether a poll waits. The caller answers it."""
        if self._probe is not None:
            self._probe.noop_at = NEVER
        waits, self.poll_waiting = self.poll_waiting, False
        return waits

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
        self._take_poll()
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
        """As many messages as one payload may hold. A message is never divided."""
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
        if self._probe is None:
            return []
        self._probe = None
        return [CloseProbe()]

    def _part(self, now: float) -> list[Effect]:
        """The client sent CLOSE. Its last poll may still be on its way, and is waited for."""
        if self.transport != "polling" or self.poll_waiting or self.state is not State.OPEN:
            return self._end(reasons.CLIENT_DISCONNECT, answer=NOOP)
        self._drop_queue()
        effects = self.close(reasons.CLIENT_DISCONNECT, now)
        self._close_at = now + _LAST_POLL_S
        return effects

    def _end(self, reason: str, *, answer: Control = CLOSE, keep: bool = False) -> list[Effect]:
        """Close. A poll that waits gets `answer`; with `keep`, what is queued comes before it.

        A draining node sends no CLOSE, since the Python client does not come back after one on polling. The poll gets
        what is queued, or an empty answer, which the polling endpoint turns into "Session ID unknown".
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
        self._heartbeat_at = self._close_at = NEVER
        return [*effects, Closed(reason)]


def _close_code(reason: str) -> int | None:
    """The close code for the WebSocket. None where the client does not read, so that nobody would see it."""
    match reason:
        case reasons.SLOW_CONSUMER:
            return None
        case reasons.NODE_DRAINED:
            return CloseCode.GOING_AWAY
        case reasons.PARSE_ERROR | reasons.TRANSPORT_ERROR:
            return CloseCode.POLICY_VIOLATION
        case _:
            return CloseCode.NORMAL
