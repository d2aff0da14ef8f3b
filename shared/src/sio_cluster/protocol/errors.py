"""Every error that the cluster raises on purpose, in one tree.

ClusterError
|-- ConfigError                 a setting is unknown or impossible; the process refuses to start
|   `-- ClusterMismatch         this node is configured otherwise than the cluster that it would join
|-- MalformedInput              somebody sent what the protocol forbids; the sender bears it, nobody else
|   |-- MalformedPacket         a client's Engine.IO or Socket.IO packet
|   `-- MalformedBatch          an entry of the bus that cannot be decoded (set aside, counted)
|       `-- UnknownVersion      the entry speaks a protocol version that this build does not know
|-- Overload                    a bounded queue is full; whoever fills it must wait or be refused
|   |-- PayloadTooLarge         one message exceeds MAX_PAYLOAD_BYTES
|   `-- StreamFull              a lane or an inbox has reached its byte bound
|-- BusError                    Redis is away, slow, or refuses
|   |-- BusUnavailable          no connection, a lost reply, or a time-out: retry with backoff
|   |-- BusRefused              Redis answered with an error (read only, no permission)
|   |   `-- RedisFull           out of memory: what waits is written when there is room
|   `-- LeaseLost               another app-node holds the lane: stop acting for its clients
`-- HandlerError                the application's handler raised
"""


class ClusterError(Exception):
    """The root of the tree above."""


class ConfigError(ClusterError):
    """A setting is unknown or impossible. The message names the setting."""


class ClusterMismatch(ConfigError):
    """This node's lanes or protocol version differ from those of the cluster that it would join."""


class MalformedInput(ClusterError):
    """Somebody sent what the protocol forbids."""


class MalformedPacket(MalformedInput):
    """A client's packet breaks the Engine.IO v4 or Socket.IO v5 protocol."""


class MalformedBatch(MalformedInput):
    """A stream entry cannot be decoded."""


class UnknownVersion(MalformedBatch):
    """A stream entry speaks a protocol version that this build does not know."""


class Overload(ClusterError):
    """A bounded queue is full."""


class PayloadTooLarge(Overload):
    """One message exceeds MAX_PAYLOAD_BYTES."""


class StreamFull(Overload):
    """A lane or an inbox has reached its byte bound. `key` is the stream's key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"stream {key} has reached its byte bound")
        self.key = key


class BusError(ClusterError):
    """Redis is away, slow, or refuses."""


class BusUnavailable(BusError):
    """No connection, a lost reply, or a time-out. The outcome of the operation is unknown: retry it."""


class BusRefused(BusError):
    """Redis answered with an error, such as OOM or READONLY. The operation had no effect."""


class RedisFull(BusRefused):
    """Redis has reached its `maxmemory` and drops nothing. The operation had no effect: retry with backoff."""


class LeaseLost(BusError):
    """Another app-node holds the lane, or this one was paused for longer than its lease."""


class HandlerError(ClusterError):
    """The application's handler raised."""
