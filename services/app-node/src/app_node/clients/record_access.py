"""Reads client records and sessions, and stores sessions. Each call waits until Redis answers."""

from app_node.counters import Counters
from app_node.lanes.progress import open_progress
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import node_of
from sio_cluster.streams.api.homes import Homes
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import ChangeResult, ClientRecord, ClientRecords, Restoring


class RecordAccess:
    """For those who need the answer. Changes that nobody waits for go through `downlink.record_writer`."""

    def __init__(self, records: ClientRecords, homes: Homes, counters: Counters) -> None:
        self._records = records
        self._homes = homes
        self._retry = Retry("record_access", counters.redis_retries)

    async def load(self, sid: str) -> ClientRecord | None:
        """The client's record, None when it is gone."""
        return await self._retry.call(lambda: self._records.load(sid))

    async def clients_of_home(self, home: str) -> list[str]:
        """The clients of this home, in any order: those that its io-node holds, as far as Redis knows, those that are
        away, and those that another io-node holds."""
        held = await self._retry.call(lambda: self._records.clients_of(home))
        absent = await self._retry.call(lambda: self._homes.absent(home))
        return list({*(sid for sid, _ in held if node_of(sid) == home), *absent})

    async def has_home(self, home: str) -> bool:
        """Whether the home is there. If it is gone, its clients cannot come back."""
        return await self._retry.call(lambda: self._homes.horizon(home)) is not None

    async def renounce(self, sid: str, generation: int) -> None:
        """From now on nobody may claim this session back."""
        await self._retry.call(lambda: self._records.renounce([(sid, generation)]))

    async def mark_restoring(self, sid: str, *, begun: bool, lease: Lease) -> None:
        """Notes in the record that a restore of this client has begun in quarantine, or has ended. Raises LeaseLost."""
        [result] = await self._retry.call(lambda: self._records.update([Restoring(sid, begun)], [lease]))
        if result is ChangeResult.FENCED:
            raise LeaseLost(f"the quarantine of {sid} is no longer held: another app-node goes on with it")

    async def load_session(self, sid: str) -> bytes | None:
        """The encoded session. None when nothing was saved, or the client is gone."""
        return await self._retry.call(lambda: self._records.load_session(sid))

    async def save_session(self, sid: str, session: bytes) -> bool:
        """Stores the encoded session. False when the client is gone. LeaseLost in a handler whose lane was lost."""
        progress = open_progress()
        lease = None if progress is None else progress.lane.lease
        return await self._retry.call(lambda: self._records.save_session(sid, session, lease))
