"""One Engine.IO v4 session as a sans-IO state machine: no socket, no clock, no task.

Each input returns the effects that its owner must carry out, in order. `now` is in seconds of any monotonic clock. The
owner calls `tick` when `deadline` has come. The machine covers both transports, and the upgrade from polling to
WebSocket (`upgrade`).

Messages leave once and in order, by the transport that the session has at that moment. The behaviour is that of
Socket.IO's own server, except where that one would wait or loop for ever.

A session is *stuck* while nothing can leave: the socket is full, or the client does not poll. All that waits in a stuck
session is counted in the `Buffers` of the node. A client that takes something at least once in PING_TIMEOUT_MS may be
as slow as it likes. If it takes nothing for so long, the session ends as a slow consumer.

The file is longer than others because the queue stays inside the session: `send` and `flush` run for every delivery,
and a queue object between them would cost each an attribute more.
"""

from collections.abc import Iterator
from enum import Enum
from typing import assert_never

from io_node.engineio.api import Outbound
from io_node.engineio.counters import EngineCounters
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
from io_node.engineio.session.upgrade import NEVER, Probe
from io_node.engineio.wire.frames import CloseCode
from io_node.engineio.wire.packets import (
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

_LAST_POLL_S = 0.1
"""A polling client that sends CLOSE may have sent a poll on another connection. How long the session waits for it."""
_LAST_POSTS_S = 1.0
"""How long a draining node takes POSTs of a client after it has answered the client's last poll."""
_WRITE_BYTES = 262_144
"""How much is written to a WebSocket in one go. More than that leaves in several turns."""
_PAYLOAD_BYTES = 262_144
"""How much a polling payload holds. A message is never divided, so a larger one has a payload of its own.

A proxy may take a payload at once. Then only the next GET shows progress: after 13 s on a line of 20 KB/s.
"""
_LOOKS = 4
"""How often within PING_TIMEOUT_MS a session that is stuck looks whether its client has taken something."""
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
    """The state of one session.

    While an effect is carried out, only `send`, `close`, `keep`, `let_go`, `congested` and `watch` may be called.
    """

    __slots__ = (
        "_backlog",
        "_buffers",
        "_close_at",
        "_close_reason",
        "_controls",
        "_counted",
        "_counters",
        "_heartbeat_at",
        "_held",
        "_in_flight",
        "_kept",
        "_limits",
        "_look_at",
        "_looks",
        "_part_until",
        "_paused",
        "_payload_packets",
        "_pong_due",
        "_probe",
        "_queue",
        "_stuck",
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
        buffers: Buffers,
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
        self._buffers = buffers
        self._queue: list[Outbound | Control] = [opening]
        self._controls = 1  # how many in the queue are the engine's own packets, which are not counted
        self._held = opening.size
        self._kept = 0
        self._stuck = transport == "polling"
        self._counted = 0  # so many at the front of the queue are counted in the buffers of the node
        self._in_flight: bytes | None = None  # what the transport has not taken to its end
        self._backlog = 0  # how much of that is left
        self._looks = 0
        self._look_at = NEVER
        self._paused = False
        self._pong_due = False
        self._heartbeat_at = now + limits.ping_interval_s
        self._close_at = NEVER
        self._close_reason = ""
        self._part_until = NEVER
        self._probe: Probe | None = None
        if self._stuck:
            self._count_queue()

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        deadline = min(self._heartbeat_at, self._close_at, self._look_at)
        probe = self._probe
        return deadline if probe is None else min(deadline, probe.ends_at, probe.noop_at)

    @property
    def writable(self) -> bool:
        """Whether a message would leave at the end of this tick."""
        return not self._stuck

    @property
    def held_bytes(self) -> int:
        """How many bytes wait in the queue of the session."""
        return self._held

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for the client: in the queue, in the transport, and those that `keep` counted."""
        return self._held + self._backlog + self._kept

    @property
    def waiting(self) -> int:
        """How many messages wait in the session."""
        return len(self._queue) - self._controls

    # --- from the Socket.IO side ------------------------------------------------------------------------------------

    def send(self, message: Outbound) -> bool:
        """Queue a message. True: the queue was empty, so `flush` must be called at the end of the tick."""
        if self.state is not _OPEN and not self._moves_on:
            self._counters.dropped["connection_closed"] += 1
            return False
        if message.volatile and self._stuck:
            self._counters.dropped["volatile"] += 1
            return False
        queue = self._queue
        queue.append(message)
        self._held += message.size
        if self._stuck:
            self._counted += 1
            self._buffers.hold(message, message.size)
        return len(queue) == 1

    def keep(self, message: Outbound) -> None:
        """Count a message that waits for this client elsewhere, before it may be sent."""
        self._kept += message.size
        self._buffers.hold(message, message.size)

    def let_go(self, message: Outbound) -> None:
        """It waits there no more."""
        self._kept -= message.size
        self._buffers.release(message, message.size)

    def close(self, reason: str, now: float) -> list[Effect]:
        """Begin to close. `flush` must be called.

        What is queued still leaves, as long as the client takes something in each PING_TIMEOUT_MS.
        """
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
        if self.transport == "polling":
            return self._flush_polling()
        if self._stuck:
            return []
        effects: list[Effect] = []
        if self._queue:
            if self._held > _WRITE_BYTES:
                return [WriteSocket(self._take_slice()), FlushLater()]
            effects.append(WriteSocket(self._take_frames()))
        if self.state is not State.CLOSING:
            return effects
        if self._close_reason != reasons.NODE_DRAINED:
            return effects + self._end(self._close_reason)
        self.state = State.PARTING
        return [*effects, PartSocket(CloseCode.GOING_AWAY)]

    def fail(self, reason: str) -> list[Effect]:
        """Close at once. What was queued is lost. A session that is parting keeps the reason that it parted for."""
        return self._end(self._close_reason if self.state is State.PARTING else reason)

    def overflow(self) -> list[Effect]:
        """End as a slow consumer: too much waits in the node, and most of it here."""
        return self._give_up("buffer_full")

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
        if now >= self._look_at:
            self._looks += 1
            if self._looks >= _LOOKS:
                return self._give_up("stalled")
            self._look_at = now + self._limits.ping_timeout_s / _LOOKS
        if now >= self._heartbeat_at:
            if not self._pong_due or self._paused:
                effects += self._beat(now)
            elif self._backlog:  # the PING is behind what the client still takes
                self._heartbeat_at = now + self._limits.ping_timeout_s
            else:
                return self._end(reasons.PING_TIMEOUT)
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
        self._stuck = False
        self._look_at = NEVER
        if self.state is State.CLOSING:
            self._part_until = now + _LAST_POSTS_S
            if self._queue:
                self._close_at = now + self._limits.ping_timeout_s
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

    # --- from the transport, about what it has not taken yet ----------------------------------------------------------

    def congested(self, data: bytes, backlog: int, now: float) -> None:
        """The transport did not take all of `data`, frames or a payload. `backlog` bytes of it are left."""
        if self.state is State.CLOSED:
            return
        self._release_flight()
        self._stuck = True
        self._in_flight = data
        self._backlog = backlog
        self._buffers.hold(data, len(data))
        self._count_queue()
        self._watch(now)

    def left(self, backlog: int, now: float) -> None:
        """So many bytes are left of it."""
        if backlog < self._backlog:
            self._backlog = backlog
            self._progressed(now)
            self._watch(now)

    def drained(self, now: float) -> list[Effect]:
        """The transport has taken all of it."""
        self._release_flight()
        self._progressed(now)
        self._look_at = NEVER
        if self.transport == "polling":
            return self._watched()
        self._stuck = False
        return self.flush()

    def watch(self, now: float) -> None:
        """The owner carries out `Watch`."""
        if self.state is not State.CLOSED:
            self._watch(now)

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
        self._queue.insert(0, PING)  # before what waits: a client that reads slowly must hear it in time
        self._controls += 1
        self._held += PING.size
        if self._stuck or self._counted:
            self._counted += 1
            self._buffers.hold(PING, PING.size)
        return self.flush()

    def _move_to_websocket(self) -> list[Effect]:
        effects = self._release_poll()
        self._probe = None
        self.transport = "websocket"
        self._stuck = False
        self._look_at = NEVER
        self._counters.upgraded += 1
        return [*effects, Upgraded(), *self.flush()]

    def _release_poll(self) -> list[Effect]:
        if not self._take_poll():
            return []
        self._count_queue()
        return [AnswerPoll(NOOP.polling_packets[0])]

    def _take_poll(self) -> bool:
        """Whether a poll waits. The caller answers it."""
        if self._probe is not None:
            self._probe.noop_at = NEVER
        waits, self.poll_waiting = self.poll_waiting, False
        self._stuck = True
        return waits

    def _flush_polling(self) -> list[Effect]:
        closing = self.state is State.CLOSING
        if not self.poll_waiting:
            return self._watched()
        if not (self._queue or closing or self.state is State.PARTING):
            return []
        if closing and self._close_reason == reasons.NODE_DRAINED and self._fits():
            self.state = State.PARTING
            self._close_at = self._part_until
        elif closing and self._fits():
            answer = NOOP if self._close_reason == reasons.CLIENT_DISCONNECT else CLOSE
            return self._end(self._close_reason, answer=answer, keep=True)
        self._take_poll()
        return [AnswerPoll(self._take_payload()), *self._watched()]

    def _watched(self) -> list[Effect]:
        """From when on a client that does not poll is taken for stuck: since something waits for it."""
        return [Watch()] if self._look_at == NEVER and self._stuck and self.waiting else []

    def _take_frames(self) -> bytes:
        """All that waits, for one write."""
        queue = self._queue
        self._queue = []
        self._held = 0
        self._counters.written += len(queue) - self._controls
        self._controls = 0
        if self._counted:
            self._uncount(queue)
        return queue[0].ws_frames if len(queue) == 1 else b"".join([message.ws_frames for message in queue])

    def _take_slice(self) -> bytes:
        """As much as one write takes, and one message at least."""
        frames = [message.ws_frames for message in self._take_first(_WRITE_BYTES, None)]
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _fits(self) -> bool:
        """Whether one payload takes all that is queued, and a CLOSE."""
        bound = self._payload_packets
        if self._held > _PAYLOAD_BYTES and len(self._queue) > 1:
            return False
        return bound is None or sum(len(message.polling_packets) for message in self._queue) < bound

    def _take_payload(self) -> bytes:
        """As much as one payload may hold, and one message at least."""
        packets: list[bytes] = []
        for message in self._take_first(_PAYLOAD_BYTES, self._payload_packets):
            packets += message.polling_packets
        self._count_queue()
        return encode_payload(packets)

    def _take_first(self, most_bytes: int, most_packets: int | None) -> list[Outbound | Control]:
        """Take messages out of the queue until they reach a bound: at least one, if there is any."""
        count = size = packets = 0
        for message in self._queue:
            size += message.size
            packets += 0 if most_packets is None else len(message.polling_packets)
            if count and (size > most_bytes or (most_packets is not None and packets > most_packets)):
                break
            count += 1
        taken = self._queue[:count]
        del self._queue[:count]
        controls = sum(isinstance(message, Control) for message in taken)
        self._controls -= controls
        self._counters.written += count - controls
        self._held -= sum(message.size for message in taken)
        self._uncount(taken)
        return taken

    def _drop_queue(self, why: str = "connection_closed") -> None:
        if self.waiting:
            self._counters.dropped[why] += self.waiting
        queue, self._queue = self._queue, []
        self._controls = 0
        self._held = 0
        self._uncount(queue)

    def _count_queue(self) -> None:
        """All that waits in the queue stays there for now: count what is not counted yet."""
        for at in range(self._counted, len(self._queue)):
            message = self._queue[at]
            self._buffers.hold(message, message.size)
        self._counted = len(self._queue)

    def _uncount(self, taken: list[Outbound | Control]) -> None:
        """These messages were the first in the queue. They wait in it no more."""
        for message in taken[: self._counted]:
            self._buffers.release(message, message.size)
        self._counted = max(0, self._counted - len(taken))

    def _release_flight(self) -> None:
        """Nothing is left in the transport."""
        data, self._in_flight = self._in_flight, None
        self._backlog = 0
        if data is not None:
            self._buffers.release(data, len(data))

    def _watch(self, now: float) -> None:
        """Look from now on whether the client takes something."""
        self._looks = 0
        self._look_at = now + self._limits.ping_timeout_s / _LOOKS

    def _progressed(self, now: float) -> None:
        """The client takes what was sent. So it is alive, and gets its time to answer a PING, and to fetch the rest."""
        until = now + self._limits.ping_timeout_s
        if self._pong_due:
            self._heartbeat_at = max(self._heartbeat_at, until)
        if self.state is State.CLOSING:
            self._close_at = max(self._close_at, until)

    def _give_up(self, why: str) -> list[Effect]:
        """The client takes too little."""
        if self.state is not State.OPEN:
            return self._end(self._close_reason)
        self._counters.slow_consumers[why] += 1
        self._drop_queue("slow_consumer")
        return self._end(reasons.SLOW_CONSUMER)

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
        self._release_flight()
        self._stuck = False
        effects += self._drop_probe()
        if self.transport == "websocket":
            effects.append(CloseSocket(_close_code(reason)))
        self._heartbeat_at = self._close_at = self._look_at = NEVER
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
