"""Every error that the cluster raises on purpose, in one tree.

ClusterError
|-- ConfigError                 a setting is unknown or impossible: the process refuses to start
|   |-- ClusterMismatch         this node is configured otherwise than the cluster that it would join
|   |-- TargetNotFound          the application named on the command line is not there
|   `-- TargetBroken            the application named on the command line raised while it was imported
|-- MalformedInput              somebody sent what the protocol forbids: the sender bears it, nobody else does
|   |-- MalformedPacket         a client's Engine.IO or Socket.IO packet
|   `-- MalformedBatch          a stream entry that cannot be decoded: it is set aside and counted
|       `-- UnknownVersion      the entry speaks a protocol version that this build does not know
|-- Overload                    a bounded queue is full: whoever fills it waits or is refused
|   |-- PayloadTooLarge         one message exceeds MAX_PAYLOAD_BYTES
|   |-- TooManyCalls            as many calls as a client may have wait for its answers, or too many questions are open
|   `-- TooManyAnswers          the answers to questions to many clients, or to app-nodes, weigh too much
|-- BusError                    Redis is away, slow, or refuses: try again, with backoff (`node.retry.Retry`)
|   |-- BusUnavailable          no connection, a lost answer, or a time-out: nobody knows what has happened
|   `-- BusRefused              Redis answered with an error: nothing has happened
|       |-- RedisFull           Redis is out of memory
|       `-- AccessRefused       Redis refuses this node, or what it asks for: ends a start (`node.membership.joining`)
|-- ClientGone                  the client that was to be asked is not connected: nobody will answer
|-- NodesTooOld               a registered node does not understand what was asked for: nothing was sent
|   `-- IndexNotExact           nodes of an older release have changed records, and the room index is being built anew
|-- HomeLost                    what a client missed cannot be read any more: it begins anew, and trying again is no use
`-- LeaseLost                   another app-node holds the lane: stop acting for its clients, and never try again
"""


class ClusterError(Exception):
    """The root of the tree above."""


class ConfigError(ClusterError):
    """A setting is unknown or impossible. The message names the setting."""


class ClusterMismatch(ConfigError):
    """This node's lanes or protocol version differ from those of the cluster that it would join."""


class TargetNotFound(ConfigError):
    """There is no such file, module or attribute. The message is one line."""


class TargetBroken(ConfigError):
    """The application's own code failed. The message is one line, `file:line: error`; the cause is the error itself."""


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


class TooManyCalls(Overload):
    """As many calls as a client may have wait for its answers, or as many questions to many clients as may be open."""


class TooManyAnswers(Overload):
    """The answers to questions to many clients, or to app-nodes, weigh more than may wait.

    Take them one by one, or ask fewer.
    """


class BusError(ClusterError):
    """Redis is away, slow, or refuses. What failed may be tried again."""


class BusUnavailable(BusError):
    """No connection, a lost answer, or a time-out. The operation may or may not have had its effect: repeat it."""


class BusRefused(BusError):
    """Redis answered with an error, such as OOM or READONLY. The operation had no effect."""


class RedisFull(BusRefused):
    """Redis has reached its `maxmemory` and evicts nothing. The operation had no effect: try again later."""


class AccessRefused(BusRefused):
    """Redis does not let this node in, or its user may not do this: a wrong password, a missing right, a certificate
    that nobody trusts, a Redis Cluster.

    Waiting does not help, somebody must change something. So it ends a start. Later it is tried again as any BusError:
    the node keeps its clients, and the password may be on its way to being changed.
    """


class ClientGone(ClusterError):
    """The client that was to be asked is not connected. It may claim its session back, but is not asked again."""


class NodesTooOld(ClusterError):
    """A registered node is of a release that does not understand what was asked for. Nothing was sent."""


class IndexNotExact(NodesTooOld):
    """Nodes of a release that does not keep the room index are registered, or were until a moment ago.

    It is built anew when the last of them has gone, within seconds. Try again then.
    """


class HomeLost(ClusterError):
    """A home is gone, or entries of its log that were not read yet. Whoever is to be told of them begins anew.

    Not a `BusError`, since a second try cannot succeed.
    """


class LeaseLost(ClusterError):
    """Another app-node holds the lane, or this one was paused for longer than its lease.

    Not a `BusError`, since a second try cannot succeed: whoever meets it stops acting for the lane's clients.
    """
