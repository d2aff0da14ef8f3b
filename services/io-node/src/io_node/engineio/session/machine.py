"""One Engine.IO v4 session as a sans-IO state machine: no socket, no clock, no task.

Each input returns the effects that its owner must carry out, in order. `now` is in seconds of any monotonic clock. The
owner calls `tick` when `deadline` has come. The machine covers both transports, and the upgrade from polling to
WebSocket.

Messages are put into its `queue`, and leave at the next `flush` by the transport that the session has at that moment.
What the client sends comes in through the functions of `session.inbound`. The behaviour is that of Socket.IO's own
server, except where that one would wait or loop for ever.
"""

from enum import Enum

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
    WriteSocket,
)
from io_node.engineio.session.heartbeat import Heartbeat
from io_node.engineio.session.limits import NEVER, Limits
from io_node.engineio.session.queue import WRITE_BYTES, SendQueue
from io_node.engineio.session.upgrade import Probe
from io_node.engineio.wire.frames import CloseCode
from io_node.engineio.wire.packets import CLOSE, NOOP, PING, Control
from sio_cluster.protocol import reasons

_LINGER_S = 1.0
"""How long a polling session goes on once all that waited has left.

In a draining node its POSTs are still taken meanwhile. Otherwise the client's next poll is waited for: it gets CLOSE.
"""


class State(Enum):
    OPEN = "open"
    CLOSING = "closing"
    """What was sent still leaves, and nothing is received. While the node drains, the client is received, too.

    A payload with messages has no CLOSE behind them: Socket.IO's JavaScript client heeds the CLOSE first, takes the
    messages for those of its next session, and gets them a second time by recovery. CLOSE answers the poll after that.
    """
    PARTING = "parting"
    """Only while the node drains: the client was told. What it sent before it knew is still received."""
    CLOSED = "closed"


# `State.OPEN` costs a look-up in the enum's metaclass.
_OPEN, _CLOSING, _CLOSED = State.OPEN, State.CLOSING, State.CLOSED


class EngineSession:
    """The state of one session.

    `queue` takes what is sent. `heartbeat` is told whether reading from the client is paused. While an effect is
    carried out, nothing else may be called but `close`, `congested` and `watch`.
    """

    __slots__ = (
        "_close_at",
        "_close_reason",
        "_linger_until",
        "counters",
        "heartbeat",
        "limits",
        "poll_waiting",
        "probe",
        "queue",
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
        self.state = State.OPEN
        self.transport = transport
        self.poll_waiting = False
        self.queue = SendQueue(opening, transport == "polling", limits, counters, buffers, payload_packets)
        self.heartbeat = Heartbeat(limits, now)
        self.limits = limits
        self.counters = counters
        self._close_at = NEVER
        self._close_reason = ""
        self._linger_until = NEVER
        self.probe: Probe | None = None

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        deadline = min(self.heartbeat.due_at, self._close_at, self.queue.look_at)
        probe = self.probe
        return deadline if probe is None else min(deadline, probe.ends_at, probe.noop_at)

    @property
    def receives(self) -> bool:
        """Whether what the client sends still counts."""
        if self.state is _CLOSING:
            return self._close_reason == reasons.NODE_DRAINED
        return self.state is not _CLOSED

    # --- what is sent leaves ----------------------------------------------------------------------------------------

    def take_frames(self) -> bytes:
        """All that waits, if the session is open on a WebSocket that takes it in one go. Nearly always it is so.

        Otherwise nothing, and `flush` says what can leave.
        """
        queue = self.queue
        if self.state is not _OPEN or queue.stuck or not queue.items or queue.held_bytes > WRITE_BYTES:
            return b""
        return queue.take_frames() if self.transport == "websocket" else b""

    def flush(self) -> list[Effect]:
        """What can leave now."""
        state, queue = self.state, self.queue
        if state is _CLOSED:
            return []
        if self.transport == "polling":
            return self._flush_polling()
        if queue.stuck:
            return []
        effects: list[Effect] = []
        if queue.items:
            if queue.held_bytes > WRITE_BYTES:
                return [WriteSocket(queue.take_slice()), FlushLater()]
            effects.append(WriteSocket(queue.take_frames()))
        if state is not _CLOSING:
            return effects
        if self._close_reason != reasons.NODE_DRAINED:
            return effects + self.end(self._close_reason)
        self.queue.takes = False
        self.state = State.PARTING
        return [*effects, PartSocket(CloseCode.GOING_AWAY)]

    def poll(self, now: float) -> list[Effect]:
        """A poll came. Call it only while `poll_waiting` is False and `transport` is polling."""
        self.poll_waiting = True
        self.queue.free()
        if self.state is State.CLOSING:
            self._linger_until = now + _LINGER_S
            if self.queue.items:
                self._close_at = now + self.limits.ping_timeout_s
        effects = self._flush_polling()
        if self.poll_waiting and self.probe is not None and self.probe.probed:
            self.probe.on_poll(now)
        return effects

    def _flush_polling(self) -> list[Effect]:
        closing, drained = self.state is State.CLOSING, self._close_reason == reasons.NODE_DRAINED
        if not self.poll_waiting:
            return self._watched()
        if not (self.queue.items or closing or self.state is State.PARTING):
            return []
        if closing and not drained and not self.queue.messages:
            answer = NOOP if self._close_reason == reasons.CLIENT_DISCONNECT else CLOSE
            return self.end(self._close_reason, answer=answer)
        self._forget_poll()
        payload = self.queue.take_payload()
        if closing and not self.queue.items:
            self._close_at = self._linger_until
            self.queue.takes = False
            if drained and not payload:
                self.state = State.PARTING
        return [AnswerPoll(payload), *self._watched()]

    def _release_poll(self) -> list[Effect]:
        """Answer a poll that waits with nothing."""
        if not self.poll_waiting:
            return []
        self._forget_poll()
        self.queue.block()
        return [AnswerPoll(NOOP.polling_packets[0])]

    def _forget_poll(self) -> None:
        self.poll_waiting = False
        if self.probe is not None:
            self.probe.noop_at = NEVER

    def _watched(self) -> list[Effect]:
        """From when on a client that does not poll is taken for stuck: since something waits for it."""
        return [Watch()] if self.queue.unwatched else []

    # --- what the transport has not taken yet -----------------------------------------------------------------------

    def congested(self, data: bytes, backlog: int, now: float) -> None:
        """The transport did not take all of `data`, frames or a payload. `backlog` bytes of it are left."""
        if self.state is State.CLOSED:
            return
        self.queue.congested(data, backlog, now)
        if self.state is not State.OPEN:
            self._close_at = max(self._close_at, now + self.limits.ping_timeout_s)

    def left(self, backlog: int, now: float) -> None:
        """So many bytes are left of it."""
        if self.queue.left(backlog, now):
            self._progressed(now)

    def emptied(self, now: float) -> list[Effect]:
        """The transport has taken all of it."""
        self.queue.emptied()
        self._progressed(now)
        if self.transport == "polling":
            if self.state is State.PARTING or (self.state is State.CLOSING and not self.queue.items):
                self._close_at = now + _LINGER_S
            return self._watched()
        self.queue.free()
        return self.flush()

    def watch(self, now: float) -> None:
        """The owner carries out `Watch`."""
        if self.state is not State.CLOSED:
            self.queue.watch(now)

    def _progressed(self, now: float) -> None:
        """The client takes what was sent. So it is alive, and gets its time to answer a PING, and to fetch the rest."""
        until = now + self.limits.ping_timeout_s
        self.heartbeat.allow(until)
        if self.state in (State.CLOSING, State.PARTING):
            self._close_at = max(self._close_at, until)

    # --- from a clock -----------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """All that is due by `now`."""
        if self.state is State.CLOSED:
            return []
        if now >= self._close_at:
            return self.end(self._close_reason)
        if now >= self.queue.look_at and self.queue.look(now):
            return self._give_up("stalled")
        effects: list[Effect] = []
        if now >= self.heartbeat.due_at:
            if not self.heartbeat.waits_for_pong:
                effects += self._beat(now)
            elif self.queue.backlog:  # the PING is behind what the client still takes
                self.heartbeat.allow(now + self.limits.ping_timeout_s)
            else:
                return self.end(reasons.PING_TIMEOUT)
        probe = self.probe
        if probe is not None and now >= probe.ends_at:
            effects += self.drop_probe()
        elif probe is not None and now >= probe.noop_at:
            probe.noop_at = NEVER
            effects += self._release_poll()
        return effects

    def _beat(self, now: float) -> list[Effect]:
        """Send a PING, if none waits yet."""
        heartbeat, queue = self.heartbeat, self.queue
        heartbeat.beat(now)
        if self.state is not State.OPEN or (heartbeat.pong_due and queue.controls):
            return []
        heartbeat.ask(now)
        queue.put_first(PING)  # before what waits: a client that reads slowly must hear it in time
        return self.flush()

    # --- the upgrade ------------------------------------------------------------------------------------------------

    def move_to_websocket(self) -> list[Effect]:
        """The WebSocket that probed takes over."""
        effects = self._release_poll()
        self.probe = None
        self.transport = "websocket"
        self.queue.free()
        self.counters.upgraded += 1
        return [*effects, Upgraded(), *self.flush()]

    def drop_probe(self) -> list[Effect]:
        """Give up the upgrade that is under way, if there is one."""
        if self.probe is None:
            return []
        self.probe = None
        return [CloseProbe()]

    # --- the end ----------------------------------------------------------------------------------------------------

    def close(self, reason: str, now: float, wait_s: float | None = None) -> list[Effect]:
        """Begin to close. `flush` must be called.

        What is queued still leaves, as long as the client takes something in each `wait_s`. None: PING_TIMEOUT_MS.
        A client that has got `3probe` may not poll any more: then it leaves when the WebSocket has taken over.
        """
        if self.state is not State.OPEN:
            return []
        self.state = State.CLOSING
        self.queue.takes = reason == reasons.NODE_DRAINED  # until the client is told, its session goes on
        self._close_reason = reason
        self._close_at = now + (self.limits.ping_timeout_s if wait_s is None else wait_s)
        self._linger_until = now + _LINGER_S
        return [] if self.probe is not None and self.probe.probed else self.drop_probe()

    def overflow(self, why: str) -> list[Effect]:
        """End as a slow consumer: too much waits for this client. `why` as in `EngineCounters.slow_consumers`."""
        return self._give_up(why)

    def _give_up(self, why: str) -> list[Effect]:
        """The client takes too little."""
        if self.state is not State.OPEN:
            return self.end(self._close_reason)
        self.counters.slow_consumers[why] += 1
        self.queue.drop("slow_consumer")
        return self.end(reasons.SLOW_CONSUMER)

    def end(self, reason: str, *, answer: Control = CLOSE) -> list[Effect]:
        """Close at once. What was queued is lost. A poll that waits gets `answer`.

        Who began to close gives the reason. A client may answer with a CLOSE of its own, or drop its connection.
        Only while a draining node has not told the client yet, it is the client who began.

        A draining node sends no CLOSE, since the Python client does not come back after one on polling. The poll gets
        an empty answer, which the polling endpoint turns into "Session ID unknown".
        """
        if self.state is State.CLOSED:
            return []
        if self.state is State.PARTING or (self.state is _CLOSING and self._close_reason != reasons.NODE_DRAINED):
            reason = self._close_reason
        self.state = State.CLOSED
        effects: list[Effect] = []
        if self.poll_waiting:
            self.poll_waiting = False
            effects.append(AnswerPoll(b"" if reason == reasons.NODE_DRAINED else answer.polling_packets[0]))
        self.queue.end()
        self.heartbeat.stop()
        effects += self.drop_probe()
        if self.transport == "websocket":
            effects.append(CloseSocket.because_of(reason))
        self._close_at = NEVER
        return [*effects, Closed(reason)]
