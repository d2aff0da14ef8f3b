"""Every Redis key of a cluster. The hash tags say what belongs together: one node, or one lane with its clients.

Most scripts touch keys of one tag. An app-node's flush touches those of several lanes and inboxes, and a home is parked
and ended together with its place in the registry: a cluster uses one Redis server, and does not run on Redis Cluster.

{PREFIX}:config                       hash    lanes, version: checked when a node starts; life: see api.Registry;
                                              index: "exact", or see api.room_index
{PREFIX}:io-nodes                     hash    io-node id -> what it is
{PREFIX}:app-nodes                    hash    app-node id -> what it is
{PREFIX}:lost-io-nodes                set     io-nodes that died, and whose clients are being told of to the application
{PREFIX}:parked-io-nodes              set     homes without an io-node: see api.homes
{PREFIX}:epoch                        counter how many app-nodes have asked for an epoch (see messages.AckRequest)
{PREFIX}:outcome:DIGEST               hash    owner, asked, outcome: a request that is carried out once, see
                                              streams.redis.outcomes
{PREFIX}:pass:DIGEST                  string  a pass, such as that of an Admin UI's session: see api.passes. Expires
{PREFIX}:{node:ID}:alive              string  the node's heartbeat: since when it lives without a gap, in s of Redis'
                                              clock (1: an older release). Expires when it falls silent
{PREFIX}:{node:ID}:inbox              stream  everything addressed to this process, in order
{PREFIX}:{node:ID}:inbox:state        hash    see streams/redis/scripts/__init__.py
{PREFIX}:{node:ID}:inbox:interest     hash    rooms, as JSON, in which clients of this home are -> id of the last entry
                                              by which one enters, "-" and "" -> tokens: see api.interest
{PREFIX}:{node:ID}:clients            set     sids of the clients that this io-node holds
{PREFIX}:{node:ID}:away               zset    sids of this home's clients that are away -> until when they may come
                                              back, in ms of Redis' clock; +inf: another io-node holds it;
                                              -inf: its time is over, and the application must be told
{PREFIX}:{node:ID}:rooms:SID          set     rooms of a client of this home at the log's horizon, each as JSON
{PREFIX}:{node:ID}:marks              hash    what events left the log of this home: see `streams.api.quiet`
{PREFIX}:{lane:N}:uplink              stream  facts of this lane's clients
{PREFIX}:{lane:N}:uplink:state        hash    see streams/redis/scripts/__init__.py
{PREFIX}:{lane:N}:done                hash    id of an entry that is done in part -> the numbers of its facts that are
{PREFIX}:{lane:N}:lease               hash    holder, token, position: expires when the lease runs out
{PREFIX}:{lane:N}:token               counter the last fencing token
{PREFIX}:{lane:N}:holders             set     who acquired the lane, and has neither released it nor been barred since
{PREFIX}:{lane:N}:takeovers           hash    last, once, twice: how often entries were taken over, see
                                              `streams.redis.scripts.lanes`
{PREFIX}:{lane:N}:client:SID          hash    the client's record: connected, namespace, session, accepted, transport,
                                              restoring, pid (SHA-256), holder, generation, let_in, away (until
                                              when), untold (why it disconnected), connected_at, linger (for how
                                              long it shows something while it is away); times are in ms, points
                                              in time by Redis' clock
{PREFIX}:{lane:N}:rooms:SID           set     the client's rooms, each as JSON
{PREFIX}:{lane:N}:room:NAMESPACE:ROOM set     this lane's clients in the room: their sids. ROOM is JSON: "lobby", 42
{PREFIX}:{lane:N}:left:NAMESPACE:ROOM set     sids of those who left the room by a change that selects by it:
                                              see `streams.api.selections`. Expires
{PREFIX}:{lane:N}:here:NAMESPACE      zset    sids of this lane's clients that are connected; each has the score 0
{PREFIX}:{lane:N}:counts:NAMESPACE    hash    room, as JSON -> how many of these are in it
{PREFIX}:{lane:N}:metas:NAMESPACE:ROOM hash   sid -> what this client shows in the room: see api.presences
{PREFIX}:{lane:N}:shown:SID           set     NAMESPACE:ROOM of the rooms in which the client shows something
{PREFIX}:{lane:N}:leaving             zset    sids of clients that are away -> until when they show something, in ms of
                                              Redis' clock
{PREFIX}:{lane:N}:news                stream  what clients show, and show no more, until their rooms have been told
{PREFIX}:{lane:N}:dead                stream  dead letters: entries that were set aside
{PREFIX}:{lane:N}:quarantine:uplink   stream  facts that were taken over unfinished twice, one an entry

In the Redis that a bridge listens to (BRIDGE_REDIS_URL):

{PREFIX}:{bridge}:lease               string  which bridge is the active one: expires when its lease runs out
{PREFIX}:{bridge}:position:STREAM     hash    id, read: up to where STREAM was read, and how many of its entries that
                                              are, of all that were ever added to it

A quarantine has the keys of a lane:

{PREFIX}:{lane:N}:quarantine:uplink:state
{PREFIX}:{lane:N}:quarantine:done
{PREFIX}:{lane:N}:quarantine:lease
{PREFIX}:{lane:N}:quarantine:token
{PREFIX}:{lane:N}:quarantine:holders
{PREFIX}:{lane:N}:quarantine:takeovers

Wherever a method takes a lane's number, the number of a quarantine (`ids.quarantine_of`) leads to the quarantine's key.
"""

from dataclasses import dataclass

from sio_cluster.protocol.ids import is_quarantine, lane_behind


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the cluster called `prefix`."""

    prefix: str

    @property
    def config(self) -> str:
        return f"{self.prefix}:config"

    @property
    def io_nodes(self) -> str:
        return f"{self.prefix}:io-nodes"

    @property
    def app_nodes(self) -> str:
        return f"{self.prefix}:app-nodes"

    @property
    def lost_io_nodes(self) -> str:
        return f"{self.prefix}:lost-io-nodes"

    @property
    def parked_io_nodes(self) -> str:
        return f"{self.prefix}:parked-io-nodes"

    @property
    def epoch(self) -> str:
        return f"{self.prefix}:epoch"

    def outcome(self, digest: str) -> str:
        return f"{self.prefix}:outcome:{digest}"

    def a_pass(self, digest: str) -> str:
        return f"{self.prefix}:pass:{digest}"

    def alive(self, node_id: str) -> str:
        return f"{self.prefix}:{{node:{node_id}}}:alive"

    def inbox(self, node_id: str) -> str:
        return f"{self.prefix}:{{node:{node_id}}}:inbox"

    def clients(self, node_id: str) -> str:
        return f"{self.prefix}:{{node:{node_id}}}:clients"

    def away(self, node_id: str) -> str:
        return f"{self.prefix}:{{node:{node_id}}}:away"

    def marks(self, node_id: str) -> str:
        return f"{self.prefix}:{{node:{node_id}}}:marks"

    def rooms_at_horizon(self, node_id: str, sid: str) -> str:
        return f"{self.prefix}:{{node:{node_id}}}:rooms:{sid}"

    def uplink(self, lane: int) -> str:
        return _of_lane(self.prefix, lane, "uplink")

    def done(self, lane: int) -> str:
        return _of_lane(self.prefix, lane, "done")

    def lease(self, lane: int) -> str:
        return _of_lane(self.prefix, lane, "lease")

    def token(self, lane: int) -> str:
        return _of_lane(self.prefix, lane, "token")

    def holders(self, lane: int) -> str:
        return _of_lane(self.prefix, lane, "holders")

    def takeovers(self, lane: int) -> str:
        return _of_lane(self.prefix, lane, "takeovers")

    def client(self, lane: int, sid: str) -> str:
        return f"{self.prefix}:{{lane:{lane}}}:client:{sid}"

    def rooms(self, lane: int, sid: str) -> str:
        return f"{self.prefix}:{{lane:{lane}}}:rooms:{sid}"

    def of_lane(self, lane: int) -> str:
        """How all keys of a lane begin."""
        return f"{self.prefix}:{{lane:{lane}}}:"

    def room(self, lane: int, namespace: str, room: str) -> str:
        return f"{self.of_lane(lane)}room:{namespace}:{room}"

    def left(self, lane: int, namespace: str, room: str) -> str:
        return f"{self.of_lane(lane)}left:{namespace}:{room}"

    def here(self, lane: int, namespace: str) -> str:
        return f"{self.of_lane(lane)}here:{namespace}"

    def counts(self, lane: int, namespace: str) -> str:
        return f"{self.of_lane(lane)}counts:{namespace}"

    def metas(self, lane: int, namespace: str, room: str) -> str:
        return f"{self.of_lane(lane)}metas:{namespace}:{room}"

    def leaving(self, lane: int) -> str:
        return f"{self.of_lane(lane)}leaving"

    def news(self, lane: int) -> str:
        return f"{self.of_lane(lane)}news"

    def dead(self, lane: int) -> str:
        """A lane and its quarantine share the dead letters."""
        return f"{self.prefix}:{{lane:{lane_behind(lane)}}}:dead"

    @property
    def bridge_lease(self) -> str:
        return f"{self.prefix}:{{bridge}}:lease"

    def bridge_position(self, stream: str) -> str:
        return f"{self.prefix}:{{bridge}}:position:{stream}"

    @staticmethod
    def state(stream: str) -> str:
        """The hash beside a stream, with what is known about it."""
        return f"{stream}:state"

    @staticmethod
    def interest(stream: str) -> str:
        """The hash beside an inbox with its account of rooms (`streams.api.interest`). Lanes have none."""
        return f"{stream}:interest"

    @staticmethod
    def is_inbox(stream: str) -> bool:
        """Whether this stream is an inbox, which goes when its process goes, and not a lane, which stays."""
        return stream.endswith(":inbox")


def _of_lane(prefix: str, number: int, what: str) -> str:
    place = "quarantine:" if is_quarantine(number) else ""
    return f"{prefix}:{{lane:{lane_behind(number)}}}:{place}{what}"
