"""The send queue of one session: what waits for its client, how much that is, and whether the client takes it. Pure.

Messages leave once and in order: as frames for a WebSocket, or as the payload that answers a poll.

A queue is *stuck* while nothing can leave: the socket is full, or the client does not poll. All that waits in a stuck
queue is counted in the `Buffers` of the node, and so is what the transport has not taken to its end (what is *in
flight*). A client that takes something at least once in PING_TIMEOUT_MS may be as slow as it likes. One that takes
nothing for so long has *stalled*, and its session ends.
"""

from typing import TypeAlias

from io_node.engineio.api import Bundle, Outbound, Sendable
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session.buffers import Buffers
from io_node.engineio.session.limits import NEVER, Limits
from io_node.engineio.wire.packets import Control, encode_payload

WRITE_BYTES = 262_144
"""How much is written to a WebSocket in one go. More than that leaves in several turns."""
_PAYLOAD_BYTES = 262_144
"""How much a polling payload holds. A message is never divided, so a larger one has a payload of its own.

A proxy may take a payload at once. Then only the next GET shows progress: after 13 s on a line of 20 KB/s.
"""
_LOOKS = 4
"""How often within PING_TIMEOUT_MS a session that is stuck looks whether its client has taken something."""


Item: TypeAlias = Outbound | Control


class Joined:
    """Joins the frames of what waits for a client. It remembers the last result: in a burst to a room, all its members
    have the same messages in their queues, which are joined once."""

    __slots__ = ("_frames", "_items")

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._frames = b""

    def frames(self, items: list[Item]) -> bytes:
        """The frames of all of these. The list must not change afterwards."""
        if len(items) == 1:
            return items[0].ws_frames
        if items != self._items:  # each item is equal to itself only
            self._frames = b"".join([item.ws_frames for item in items])
            self._items = items
        return self._frames


_joined = Joined()
"""Of all queues of this process. It holds WRITE_BYTES at most."""


class SendQueue:
    """What waits for one client.

    `takes` is set by the session, which knows its state.
    """

    __slots__ = (
        "_buffers",
        "_counted",
        "_counters",
        "_in_flight",
        "_kept",
        "_limits",
        "_looks",
        "_payload_packets",
        "backlog",
        "controls",
        "held_bytes",
        "items",
        "look_at",
        "stuck",
        "takes",
    )

    def __init__(
        self,
        opening: Control,
        stuck: bool,
        limits: Limits,
        counters: EngineCounters,
        buffers: Buffers,
        payload_packets: int | None = None,
    ) -> None:
        """`opening` is the open packet, which leaves first.

        `payload_packets` is how many packets the answer to a poll may hold. None: any number.
        """
        self.takes = True
        """Whether `send` takes messages. Otherwise it drops and counts them."""
        self.stuck = stuck
        """Whether nothing can leave."""
        self.items: list[Item] = [opening]
        """The messages and the engine's own packets that wait, in order. Not to be changed from outside."""
        self.controls = 1
        """How many of them are the engine's own packets, which are not counted as messages."""
        self.held_bytes = opening.size
        """How many bytes they have."""
        self.backlog = 0
        """How many bytes of what is in flight are left."""
        self.look_at = NEVER
        """When to `look` whether the client has taken something."""
        self._looks = 0
        self._kept = 0
        self._counted = 0  # so many at the front are counted in the buffers of the node
        self._in_flight: bytes | None = None
        self._limits = limits
        self._counters = counters
        self._buffers = buffers
        self._payload_packets = payload_packets
        if stuck:
            self._hold_all()

    @property
    def messages(self) -> int:
        """How many messages wait."""
        return len(self.items) - self.controls

    @property
    def is_empty(self) -> bool:
        """Whether the transport has taken all that was sent."""
        return not self.items and not self.backlog

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for the client: in the queue, in the transport, and those that `keep` counted."""
        return self.held_bytes + self.backlog + self._kept

    # --- in ---------------------------------------------------------------------------------------------------------

    def send(self, message: Sendable) -> bool:
        """Queue a message. True: the queue was empty, so the session must be flushed at the end of the tick."""
        if isinstance(message, Bundle):
            return self._send_all(message)
        if not self.takes:
            self._counters.dropped["connection_closed"] += 1
            return False
        if message.volatile and self.stuck:
            self._counters.dropped["volatile"] += 1
            return False
        items = self.items
        items.append(message)
        self.held_bytes += message.size
        if self.stuck:
            self._counted += 1
            self._buffers.hold(message, message.size)
        return len(items) == 1

    def _send_all(self, bundle: Bundle) -> bool:
        items = self.items
        count = len(items)
        if self.stuck or not self.takes:
            for message in bundle.messages:
                self.send(message)
        else:
            items += bundle.messages
            self.held_bytes += bundle.size
        return not count and len(items) > 0

    def put_first(self, control: Control) -> None:
        """Queue a packet of the engine before what waits."""
        self.items.insert(0, control)
        self.controls += 1
        self.held_bytes += control.size
        if self.stuck or self._counted:
            self._counted += 1
            self._buffers.hold(control, control.size)

    def keep(self, message: Outbound) -> None:
        """Count a message that waits for this client elsewhere, before it may be sent."""
        self._kept += message.size
        self._buffers.hold(message, message.size)

    def let_go(self, message: Outbound) -> None:
        """It waits there no more."""
        self._kept -= message.size
        self._buffers.release(message, message.size)

    # --- out --------------------------------------------------------------------------------------------------------

    def take_frames(self) -> bytes:
        """All that waits, for one write."""
        items = self.items
        self.items = []
        self.held_bytes = 0
        self._counters.written += len(items) - self.controls
        self.controls = 0
        if self._counted:
            self._uncount(items)
        frames = _joined.frames(items)
        self._counters.websocket_sent_bytes += len(frames)
        return frames

    def take_slice(self) -> bytes:
        """As much as one write takes, and one message at least."""
        taken = [item.ws_frames for item in self._take_first(WRITE_BYTES, None)]
        frames = taken[0] if len(taken) == 1 else b"".join(taken)
        self._counters.websocket_sent_bytes += len(frames)
        return frames

    def take_payload(self) -> bytes:
        """As much as one payload may hold, and one message at least. What is left is stuck until the next poll."""
        packets: list[bytes] = []
        for item in self._take_first(_PAYLOAD_BYTES, self._payload_packets):
            packets += item.polling_packets
        self.block()
        payload = encode_payload(packets)
        self._counters.polling_sent_bytes += len(payload)
        return payload

    def drop(self, why: str) -> None:
        """Drop what waits, and count it."""
        if self.messages:
            self._counters.dropped[why] += self.messages
        items, self.items = self.items, []
        self.controls = 0
        self.held_bytes = 0
        self._uncount(items)

    def end(self) -> None:
        """The session is over: drop everything, and take nothing any more."""
        self.drop("connection_closed")
        self._release_flight()
        self.takes = self.stuck = False
        self.look_at = NEVER

    # --- what the transport has not taken yet -----------------------------------------------------------------------

    def block(self) -> None:
        """Nothing can leave from now on."""
        self.stuck = True
        self._hold_all()

    def free(self) -> None:
        """Something can leave now."""
        self.stuck = False
        self.look_at = NEVER

    def congested(self, data: bytes, backlog: int, now: float) -> None:
        """The transport did not take all of `data`, frames or a payload. `backlog` bytes of it are left."""
        self._release_flight()
        self._in_flight = data
        self.backlog = backlog
        self._buffers.hold(data, len(data))
        self.block()
        self.watch(now)

    def left(self, backlog: int, now: float) -> bool:
        """So many bytes are left of it. True: the client has taken some."""
        if backlog >= self.backlog:
            return False
        self.backlog = backlog
        self.watch(now)
        return True

    def emptied(self) -> None:
        """The transport has taken all of it."""
        self._release_flight()
        self.look_at = NEVER

    # --- whether the client takes something -------------------------------------------------------------------------

    @property
    def unwatched(self) -> bool:
        """Whether messages are stuck, and nobody looks yet whether the client takes them."""
        return self.look_at == NEVER and self.stuck and self.messages > 0

    def watch(self, now: float) -> None:
        """Look from now on whether the client takes something."""
        self._looks = 0
        self.look_at = now + self._limits.ping_timeout_s / _LOOKS

    def look(self, now: float) -> bool:
        """`look_at` has come. True: the client has stalled."""
        self._looks += 1
        self.look_at = now + self._limits.ping_timeout_s / _LOOKS
        return self._looks >= _LOOKS

    # --- inside -----------------------------------------------------------------------------------------------------

    def _take_first(self, most_bytes: int, most_packets: int | None) -> list[Item]:
        """Take what waits until a bound is reached: at least one item, if there is any."""
        count = size = packets = 0
        for item in self.items:
            size += item.size
            packets += 0 if most_packets is None else len(item.polling_packets)
            if count and (size > most_bytes or (most_packets is not None and packets > most_packets)):
                break
            count += 1
        taken = self.items[:count]
        del self.items[:count]
        controls = sum(isinstance(item, Control) for item in taken)
        self.controls -= controls
        self._counters.written += count - controls
        self.held_bytes -= sum(item.size for item in taken)
        self._uncount(taken)
        return taken

    def _hold_all(self) -> None:
        """All that waits stays here for now: count in the buffers of the node what is not counted yet."""
        for at in range(self._counted, len(self.items)):
            item = self.items[at]
            self._buffers.hold(item, item.size)
        self._counted = len(self.items)

    def _uncount(self, taken: list[Item]) -> None:
        """These were the first in the queue. They wait in it no more."""
        for item in taken[: self._counted]:
            self._buffers.release(item, item.size)
        self._counted = max(0, self._counted - len(taken))

    def _release_flight(self) -> None:
        """Nothing is left in the transport."""
        data, self._in_flight = self._in_flight, None
        self.backlog = 0
        if data is not None:
            self._buffers.release(data, len(data))
