"""The whole vocabulary of the bus in one file.

Uplink facts travel from io-nodes towards the application, downlink commands from app-nodes towards the clients.
Both are msgspec structs, tagged and array-like: on the wire each is a msgpack array that begins with its tag.
A new field goes at the end with a default, so that nodes of two releases understand each other during a rolling
upgrade; a change that an older node cannot read raises `PROTOCOL_VERSION`.

JSON payloads travel as the raw bytes that the client sent (uplink) or that go on the wire (downlink): an io-node
never decodes an application's payload into objects that it keeps.
"""

from typing import TypeAlias

import msgspec

PROTOCOL_VERSION = 2

LEVEL = 4
"""What this release understands: each kind of message that an older one cannot read raises it. Nodes register with it,
and nobody sends what the oldest node cannot read."""

RECOVERY_LEVEL = 2
"""The level from which on nodes know `Evict`, sessions that are claimed back, and parked homes."""

SERVER_LEVEL = 3
"""The level from which on nodes know all that a server may be asked: selections of many clients, questions to many,
messages between app-nodes."""

INTEREST_LEVEL = 4
"""The level from which on nodes say which rooms clients enter by what they append (`streams.api.interest`)."""

Room: TypeAlias = str | int
"""A room's name. python-socketio allows any hashable; on the bus it is text or a whole number."""

TraceContext: TypeAlias = bytes
"""Of a message that is traced, the step that sent it: the trace's id (16 bytes), then the span's (8 bytes), as in a
W3C `traceparent`. Other lengths are ignored."""


class Handshake(msgspec.Struct, array_like=True, frozen=True):
    """The HTTP request that opened the connection, as far as an application may ask about it.

    `headers` are (lower-case name, value) in the order received. `path` and `query` are as they were sent,
    percent-encoded. All three are decoded as latin-1, which keeps every byte: what they mean is for the app-node.
    """

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    remote_addr: str
    remote_port: int = 0
    scheme: str = "http"
    http_version: str = "1.1"


# --- uplink: facts, from an io-node to a lane (AckReceived: to the inbox of the app-node that asked) -----------------


class ClientConnected(msgspec.Struct, array_like=True, frozen=True, tag="connected"):
    """A client asks to join `namespace`. It waits until `Accept` or `Refuse` comes.

    `connection` names the Engine.IO connection that its namespaces share; it is not the secret Engine.IO sid.
    `auth` is the CONNECT packet's payload as JSON, None if the client sent none.
    `pid_hash`: SHA-256 of the secret in the client's pid, by which it may claim its session back. b"" for a client
    that cannot. `holder`: the io-node that holds its connection, "" for its home. `generation` counts the connections
    of this sid, from 0: one above 0 has claimed the session back. `since`: the place in the home's log behind which the
    client waits, as an offset. It gets what is said to everybody from there on. "" where that is not known.
    """

    sid: str
    connection: str
    namespace: str
    auth: bytes | None
    handshake: Handshake
    transport: str
    pid_hash: bytes = b""
    holder: str = ""
    generation: int = 0
    since: str = ""


class EventReceived(msgspec.Struct, array_like=True, frozen=True, tag="event"):
    """A client sent an event. `data` is the JSON array `[name, arg, ...]`, already validated by the io-node, with
    `{"_placeholder": true, "num": n}` in place of `attachments[n]`. `ack_id` is None where no answer is wanted.
    `trace`: a `TraceContext`, None where the event is not traced."""

    sid: str
    ack_id: int | None
    data: bytes
    attachments: list[bytes] = []
    trace: TraceContext | None = None


class AckReceived(msgspec.Struct, array_like=True, frozen=True, tag="ack"):
    """A client answered an `Emit` that asked for an ack. `data` is the JSON array of the answer's arguments."""

    sid: str
    ack_id: int
    data: bytes
    attachments: list[bytes] = []


class ClientUpgraded(msgspec.Struct, array_like=True, frozen=True, tag="upgraded"):
    """The client's connection moved to another transport (`AsyncServer.transport` answers with it).

    `generation`: that of the connection. It says nothing of a later one.
    """

    sid: str
    transport: str
    generation: int = 0


class RoomChanged(msgspec.Struct, array_like=True, frozen=True, tag="room"):
    """The client is in this room now (`inside`), or out of it, by a command of an app-node that may not hold its lane.

    Its record said so before: the holder compares what it knows with the record.
    """

    sid: str
    room: Room
    inside: bool


class ClientDisconnected(msgspec.Struct, array_like=True, frozen=True, tag="disconnected"):
    """The client is gone from its namespace. `reason` is one of `protocol.reasons`.

    `generation`: that of the connection that ended. It says nothing of a later one. `keep_ms`: for how long the client
    may claim its session back. 0: it is gone for good.
    """

    sid: str
    reason: str
    generation: int = 0
    keep_ms: int = 0


Fact: TypeAlias = ClientConnected | EventReceived | AckReceived | ClientUpgraded | RoomChanged | ClientDisconnected


# --- downlink: commands, from an app-node to the inbox of an io-node --------------------------------------------------


class Accept(msgspec.Struct, array_like=True, frozen=True, tag="accept"):
    """Let the client in. The io-node writes the CONNECT packet, and then what was emitted to the client meanwhile.

    `generation`: that of the connection that is let in.
    """

    sid: str
    generation: int = 0


class Refuse(msgspec.Struct, array_like=True, frozen=True, tag="refuse"):
    """Turn the client away with a CONNECT_ERROR packet. `data` is its JSON payload, `{"message": ..., "data": ...}`.

    `generation`: that of the connection that is turned away.
    """

    sid: str
    data: bytes
    generation: int = 0


class AckRequest(msgspec.Struct, array_like=True, frozen=True):
    """Who wants the answer to an `Emit`: the app-node's id, and the id that its packet carries.

    The id is unique in the cluster and for all time that matters: (epoch of the app-node << 20) + a counter.
    It stays below 2**31, since many clients keep it in 32 bits. `is_call`: a `call` waits for the answer, which no
    number of other questions may push out. `hears_missed`: the app-node understands `AckMissed`. It says so itself,
    since one that only emits is not registered, and counts in nobody's level. `names_asked`: the app-node wants to know
    whom the question reached (`AckExpected`), and of each of them that leaves without an answer (`AckMissed`).
    """

    app_node: str
    ack_id: int
    is_call: bool = False
    hears_missed: bool = False
    names_asked: bool = False


class Emit(msgspec.Struct, array_like=True, frozen=True, tag="emit"):
    """Write a packet to clients of `namespace`.

    `packet` is the Socket.IO packet as it goes on the wire, such as `2["news",1]` (without Engine.IO's leading `4`),
    encoded once by the app-node; `attachments` follow it. `to` lists rooms (a sid is a room): a client in several of
    them gets the packet once. None means every client of the namespace. `skip` lists sids that do not get it, and
    `except_rooms` rooms whose members do not, as far as the io-node knows them when it carries this out (from
    `SERVER_LEVEL` on). `volatile`: a client that cannot be written to at once does not get it. `trace`: a
    `TraceContext`, None where the emit is not traced.
    """

    namespace: str
    packet: bytes
    attachments: list[bytes] = []
    to: list[Room] | None = None
    skip: list[str] = []
    volatile: bool = False
    ack: AckRequest | None = None
    except_rooms: list[Room] = []
    trace: TraceContext | None = None


class Ack(msgspec.Struct, array_like=True, frozen=True, tag="answer"):
    """Answer an event of this client. `packet` is the whole ACK packet, such as `3/chat,7["ok"]`. `trace`: a
    `TraceContext`, None where the event is not traced."""

    sid: str
    packet: bytes
    attachments: list[bytes] = []
    trace: TraceContext | None = None


class Join(msgspec.Struct, array_like=True, frozen=True, tag="join"):
    """Put the client into a room. `tell`: the holder of its lane does not know it yet, and is told by `RoomChanged`."""

    sid: str
    room: Room
    tell: bool = False


class Leave(msgspec.Struct, array_like=True, frozen=True, tag="leave"):
    """Take the client out of a room. `tell`: as for `Join`."""

    sid: str
    room: Room
    tell: bool = False


class CloseRoom(msgspec.Struct, array_like=True, frozen=True, tag="close_room"):
    """Take every client out of a room. The holders of their lanes are told by `RoomChanged`."""

    namespace: str
    room: Room


class JoinMany(msgspec.Struct, array_like=True, frozen=True, tag="join_many"):
    """Put each of these clients into each of these rooms. The holders of their lanes are told by `RoomChanged`.

    From `SERVER_LEVEL` on.
    """

    sids: list[str]
    rooms: list[Room]


class LeaveMany(msgspec.Struct, array_like=True, frozen=True, tag="leave_many"):
    """Take each of these clients out of each of these rooms. The holders of their lanes are told, as for `JoinMany`."""

    sids: list[str]
    rooms: list[Room]


class Disconnect(msgspec.Struct, array_like=True, frozen=True, tag="disconnect"):
    """Disconnect the client from its namespace by a DISCONNECT packet. It does not come back by itself after that.

    `close`: disconnect it from every namespace, and close its connection.
    """

    sid: str
    close: bool = False


class DisconnectMany(msgspec.Struct, array_like=True, frozen=True, tag="disconnect_many"):
    """As `Disconnect`, for each of these clients. From `SERVER_LEVEL` on."""

    sids: list[str]
    close: bool = False


class Evict(msgspec.Struct, array_like=True, frozen=True, tag="evict"):
    """To the io-node that holds the connection of this generation, or an older one: close it. The client has come back
    on another connection."""

    sid: str
    generation: int


class Canary(msgspec.Struct, array_like=True, frozen=True, tag="canary"):
    """A node's message to itself through its own inbox: when it comes back, the bus works both ways."""

    nonce: int


Command: TypeAlias = (
    Accept
    | Refuse
    | Emit
    | Ack
    | Join
    | JoinMany
    | Leave
    | LeaveMany
    | CloseRoom
    | Disconnect
    | DisconnectMany
    | Evict
    | Canary
)


# --- to the inbox of an app-node --------------------------------------------------------------------------------------


class AckMissed(msgspec.Struct, array_like=True, frozen=True, tag="missed"):
    """This client's answer to an `Emit` will not come: the client's connection has ended, or there was none.

    For an `Emit` to one client alone, and for one that asks for it (`AckRequest.names_asked`). Behind every answer that
    the same io-node has passed on.
    """

    sid: str
    ack_id: int


class AckExpected(msgspec.Struct, array_like=True, frozen=True, tag="expected"):
    """Whom a question reached (`AckRequest.names_asked`), of the clients of one home. From each io-node that reads that
    home's inbox, before any answer.

    `sids`: the sender holds them and has asked them. `elsewhere`: they belong to those who are asked, and another
    io-node holds them: it says the same. Only the home's own io-node can know of these. `away`: they belong to those
    who are asked, have lost their connection, and are not asked. Large lists come in `parts`; `part` counts from 0.
    """

    home: str
    ack_id: int
    sids: list[str]
    elsewhere: list[str] = []
    away: list[str] = []
    part: int = 0
    parts: int = 1


class ServerEvent(msgspec.Struct, array_like=True, frozen=True, tag="server_event"):
    """From the app-node that sends the batch: run the handler of this event. `data`, `attachments`: as of
    `EventReceived`. `ask_id`: the number of the question, which a `ServerAnswer` carries back. None: no answer."""

    data: bytes
    attachments: list[bytes] = []
    ask_id: int | None = None


class ServerAnswer(msgspec.Struct, array_like=True, frozen=True, tag="server_answer"):
    """The answer of the app-node that sends the batch. `data`, `attachments`: as of `AckReceived`.

    `error`: why there is none, "" where there is one: "failed", the handler raised; "no handler".
    """

    ask_id: int
    data: bytes
    attachments: list[bytes] = []
    error: str = ""


ServerItem: TypeAlias = ServerEvent | ServerAnswer
"""What app-nodes say to each other."""
AppInboxItem: TypeAlias = AckReceived | AckMissed | AckExpected | ServerEvent | ServerAnswer | Canary
UplinkItem: TypeAlias = Fact | AckMissed | AckExpected
"""What an io-node passes on: facts to lanes; answers, `AckMissed` and `AckExpected` to the app-nodes that asked."""


# --- batches: one stream entry each -----------------------------------------------------------------------------------


class UplinkBatch(msgspec.Struct, array_like=True, frozen=True):
    """All facts of one tick for one lane. A repeated entry is known by its `node` and `seq`."""

    version: int
    node: str
    seq: int
    facts: list[Fact]


class DownlinkBatch(msgspec.Struct, array_like=True, frozen=True):
    """All commands of one tick for one io-node's inbox."""

    version: int
    node: str
    seq: int
    commands: list[Command]


class AppInboxBatch(msgspec.Struct, array_like=True, frozen=True):
    """All that one node has for one app-node's inbox in one tick."""

    version: int
    node: str
    seq: int
    items: list[AppInboxItem]
