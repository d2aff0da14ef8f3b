"""The whole bus of one process."""

from typing import Protocol

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.appends import Flusher
from sio_cluster.streams.api.homes import Homes
from sio_cluster.streams.api.inboxes import InboxReader
from sio_cluster.streams.api.interest import Interest
from sio_cluster.streams.api.lanes import LaneReader
from sio_cluster.streams.api.leases import Leases
from sio_cluster.streams.api.passes import Passes
from sio_cluster.streams.api.presences import Presences
from sio_cluster.streams.api.records import ClientRecords
from sio_cluster.streams.api.registry import Registry
from sio_cluster.streams.api.room_index import Lookup, RoomIndex
from sio_cluster.streams.api.selections import Selections
from sio_cluster.streams.api.store import Store


class BusSettings(Protocol):
    """What a bus needs to know. `node.settings.config.Config` has it."""

    @property
    def redis_address(self) -> str: ...

    @property
    def redis_prefix(self) -> str: ...

    @property
    def lanes(self) -> int: ...


class Bus(Protocol):
    """One process' way to the cluster. All parts share its connections. Making one does no IO."""

    @property
    def keys(self) -> Keys: ...

    @property
    def appender(self) -> Flusher: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def records(self) -> ClientRecords: ...

    @property
    def selections(self) -> Selections: ...

    @property
    def presences(self) -> Presences: ...

    @property
    def room_index(self) -> RoomIndex: ...

    @property
    def lookup(self) -> Lookup: ...

    @property
    def homes(self) -> Homes: ...

    @property
    def interest(self) -> Interest: ...

    @property
    def store(self) -> Store: ...

    @property
    def passes(self) -> Passes: ...

    def inbox_reader(self, node_id: str, max_batch_bytes: int = 4_000_000, *, keeps_log: bool = False) -> InboxReader:
        """A reader of this node's inbox, with a connection of its own. One read brings about `max_batch_bytes`.

        `keeps_log`: what was read stays until `forget_log`.
        """

    def lane_reader(self, node_id: str, max_page_bytes: int = 1_000_000) -> LaneReader:
        """A reader of the lanes that this node holds, with a connection of its own.

        One page of a claim brings at most `max_page_bytes`, but at least one entry.
        """

    async def start(self) -> None:
        """Connects, and joins the cluster. Raises ClusterMismatch, or a BusError (`node.membership.joining`)."""

    async def stop(self) -> None:
        """Closes all connections. Idempotent; `start` opens the bus again."""
