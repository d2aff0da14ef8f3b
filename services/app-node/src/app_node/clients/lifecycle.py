"""How clients come: it runs their `connect` handlers, and brings them back after a restart. It also says which ends of
connections count; `departures` does what follows.

A client's record says that it is let in from the moment when the output of its connect handler is in Redis. Where this
app-node dies before that, the lane's next holder runs the handler again.

A client that claims its session back has a connection of the next generation, and its connect handler runs again. The
facts of two connections may come in any order: what an older one says when a newer one is known is stale.

With `late_notice`, the application does not hear at once of a client that may come back. It counts as connected until
it is back, which the application hears, or until its time is over. Then a disconnect comes that is for good.
"""

import asyncio

import structlog

from app_node.clients.client import Client, State
from app_node.clients.connection_handlers import ConnectionHandlers
from app_node.clients.departures import Departures
from app_node.clients.incidents import Incidents
from app_node.clients.record_access import RecordAccess
from app_node.clients.sightings import Sightings
from app_node.counters import CLIENT_CONNECTED, CLIENT_DISCONNECTED, STALE_CONNECT, STALE_DISCONNECT, Outcome
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.handlers.application import INTERNAL_ERROR, INVALID_NAMESPACE, Application, Refusal
from app_node.lanes.progress import EntryProgress, current_progress
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import is_quarantine
from sio_cluster.protocol.messages import (
    Accept,
    ClientConnected,
    ClientDisconnected,
    Command,
    Disconnect,
    Evict,
    Join,
    Leave,
    Refuse,
    Room,
    RoomChanged,
)
from sio_cluster.streams.api.records import Accepted, ClientRecord, Ended

log = structlog.get_logger()

_READS = 50
"""So many records of clients that come back are read at a time. Redis answers many at once, and with its record each
client goes on to its connect handler: a thousand in one turn of the event loop would take 100 ms."""


class ClientLifecycle:
    """Connect, reconnect and disconnect of each client, and what its record says of it."""

    def __init__(
        self,
        *,
        application: Application,
        departures: Departures,
        outbox: Outbox,
        writer: RecordWriter,
        records: RecordAccess,
        handlers: ConnectionHandlers,
        incidents: Incidents,
        sightings: Sightings,
        always_connect: bool,
        late_notice: bool,
    ) -> None:
        self._application = application
        self._departures = departures
        self._outbox = outbox
        self._writer = writer
        self._records = records
        self._handlers = handlers
        self._incidents = incidents
        self._sightings = sightings
        self._counters = incidents.counters
        self._always_connect = always_connect
        self._late_notice = late_notice
        self._reads = asyncio.Semaphore(_READS)

    async def is_ready(self, client: Client, progress: EntryProgress) -> bool:
        """Whether the client's events may be handled. One that is not known here yet is restored from its record."""
        if client.state is State.UNKNOWN:
            record = await self._records.load(client.sid)
            if record is None:
                client.state = State.GONE
                client.forgotten = True
            elif record.let_in is not None or not record.accepted:  # else it is away, and the application knows
                await self._restore(client, record, progress)
        return client.state is State.CONNECTED

    async def connected(self, client: Client, fact: ClientConnected, progress: EntryProgress) -> Outcome:
        """A client asks to join, or has claimed its session back: its connect handler decides. Raises LeaseLost where
        that must not begin any more.

        A connection that was let in before is accepted again, and its handler is not called a second time.
        """
        if fact.generation < client.generation:
            return self._incidents.refused(client, STALE_CONNECT)
        if client.state is State.CONNECTED and fact.generation == client.generation:
            self._accept(client, progress)
            return CLIENT_CONNECTED
        record: ClientRecord | None = None
        if fact.generation or progress.redelivered:
            record = await self._read(client)
            if record is None or _is_over(client, fact, record):
                return self._stale(client, record)
            if client.state is State.UNKNOWN and record.let_in is not None:
                is_in = record.let_in == fact.generation
                if is_in:
                    self._post(client, Accept(client.sid, fact.generation), progress)
                if is_in or not self._late_notice:
                    await self._restore(client, record, progress)
                if is_in:
                    return CLIENT_CONNECTED
            if client.state is State.CONNECTED and not self._late_notice:
                record = await self._end_former(client, progress)
                if record is None:
                    return self._stale(client, record)
        progress.lane.require_held()
        was_in = client.state is not State.GONE and record is not None and record.let_in is not None
        if record is None:
            client.adopt(fact)
        else:
            client.resume(fact, record)
        await self._admit(client, progress, was_in=was_in)
        return CLIENT_CONNECTED

    async def disconnected(self, client: Client, fact: ClientDisconnected, progress: EntryProgress) -> Outcome:
        """A connection has ended. Its client's disconnect handler runs, once, if it had been let in. Raises LeaseLost.

        One that is newer than what is known here has never reached its connect handler. So it ends what is older, too.
        """
        ended = Ended(client.sid, fact.generation, fact.keep_ms)
        is_late = self._late_notice and fact.keep_ms > 0 and await self._records.has_home(client.io_node)
        if client.state is State.UNKNOWN:
            record = await self._records.load(client.sid)
            if record is not None and fact.generation < _newest(record, of_all=is_late):
                return self._incidents.refused(client, STALE_DISCONNECT)
            if record is None or record.let_in is None:
                if record is None or not record.away:  # else it was handled before
                    client.state = State.GONE
                    never_in = record is None or not record.accepted
                    self._departures.forget(client, Ended(client.sid, fact.generation) if never_in else ended, progress)
                return CLIENT_DISCONNECTED
            if is_late:
                self._departures.put_off(client, ended, fact.reason, progress)
                return CLIENT_DISCONNECTED
            await self._restore(client, record, progress)
        if fact.generation < client.generation:
            return self._incidents.refused(client, STALE_DISCONNECT)
        is_newer = fact.generation > client.generation
        if client.state is State.CONNECTED:
            if is_newer:
                self._outbox.put(client.holder, Evict(client.sid, client.generation), 0, progress)
            if is_late:
                self._departures.put_off(client, ended, fact.reason, progress)
            else:
                await self._departures.end(client, ended, fact.reason, progress)
        elif client.state is State.GONE and is_newer:
            self._departures.forget(client, ended, progress)
        return CLIENT_DISCONNECTED

    async def room_changed(self, client: Client, fact: RoomChanged, progress: EntryProgress) -> None:
        """A room of the client has changed, as its io-node says. Another app-node may have done that. The record was
        changed before, so it says what is true now.

        Where the record says otherwise, two app-nodes have changed this room at about the same time: the io-node is
        told what the record says. It then says so in turn, until both agree.

        A client that is not loaded yet gets its rooms from the record anyway.
        """
        self._show_room(client, fact)
        if client.state is not State.CONNECTED or (fact.room in client.rooms) is fact.inside:
            return
        is_there = await self._read_rooms(client)
        if is_there and (fact.room in client.rooms) is not fact.inside:
            kind = Leave if fact.inside else Join
            self._counters.rooms_corrected += 1
            self._post(client, kind(client.sid, fact.room, tell=True), progress)

    def _show_room(self, client: Client, fact: RoomChanged) -> None:
        observer = self._sightings.observer
        if observer is None:
            return
        if not client.has_connected:
            observer.missed()
        elif fact.inside:
            observer.entered(client.sid, client.namespace, fact.room)
        else:
            observer.left(client.sid, client.namespace, fact.room)

    async def _read_rooms(self, client: Client) -> bool:
        """False where it has no record any more."""
        record = await self._read(client)
        if record is not None:
            client.take_rooms(record.rooms)
        return record is not None

    async def _read(self, client: Client) -> ClientRecord | None:
        """The client's record. It has all that the application has said here, and until now, of the client's rooms."""
        await self._departures.over(client)
        async with self._reads:
            settling: set[Room] = set()
            client.settling = settling
            await self._writer.caught_up()
            record = await self._records.load(client.sid)
            client.settling = None
        if record is not None:
            record.rooms = (record.rooms - settling) | (client.rooms & settling)
        return record

    async def _restore(self, client: Client, record: ClientRecord, progress: EntryProgress) -> None:
        """Makes the client known here. A connect handler that takes `is_reconnect` is called with True."""
        progress.lane.require_held()
        client.restore(record)
        self._counters.clients_restored += 1
        if not record.accepted:  # but it was let in: io-nodes pass on no events of others
            self._writer.change(Accepted(client.sid, client.generation), progress)
        if self._application.wants_reconnect(client.namespace):
            refusal = await self._run_reconnect(client, progress)
            if refusal is not None and refusal is not INTERNAL_ERROR:  # a defect must not send clients away for good
                log.info("reconnect_refused", sid=client.sid, lane=progress.lane.behind)
                await self._departures.disconnect(client, progress)
                return
        client.state = State.CONNECTED

    async def _run_reconnect(self, client: Client, progress: EntryProgress) -> Refusal | None:
        """In quarantine the record says while this lasts: whether it or the fact's own handler ended the process."""
        lease = progress.lane.lease
        if not is_quarantine(lease.lane):
            return await self._handlers.connect(client, is_reconnect=True)
        await self._records.mark_restoring(client.sid, begun=True, lease=lease)
        refusal = await self._handlers.connect(client, is_reconnect=True)
        await self._records.mark_restoring(client.sid, begun=False, lease=lease)
        return refusal

    async def _end_former(self, client: Client, progress: EntryProgress) -> ClientRecord | None:
        """The client has come back, and nobody has said yet that its former connection is over: the application hears
        it now. Returns the record when it says so. Then the next connect handler may end its process."""
        self._counters.disconnects_implied += 1
        ended, written = Ended(client.sid, client.generation), asyncio.Event()
        await self._departures.end(client, ended, reasons.TRANSPORT_CLOSE, progress, written.set)
        await written.wait()
        return await self._read(client)

    async def _admit(self, client: Client, progress: EntryProgress, *, was_in: bool) -> None:
        """Runs the connect handler, and does what it says.

        `was_in`: the application has not heard that an earlier connection is over. Where it refuses this one, it does.
        """
        inner = progress.part()
        current_progress.set(inner)
        if not self._application.accepts(client.namespace):
            self._refuse(client, INVALID_NAMESPACE, inner)
        else:
            await self._decide(client, inner)
        if was_in and client.state is State.GONE:
            progress.lane.require_held()
            await self._handlers.disconnect(client, reasons.SERVER_DISCONNECT, progress.lane)
        landed = asyncio.Event()
        self._record_outcome(client, inner, progress, landed)
        if client.generation and client.state is State.CONNECTED:
            # Until now no io-node said what other app-nodes change of its rooms. It passes on no event before.
            await landed.wait()
            await self._read_rooms(client)

    async def _decide(self, client: Client, progress: EntryProgress) -> None:
        if self._always_connect:
            self._accept(client, progress)
        refusal = await self._handlers.connect(client, is_reconnect=False)
        if refusal is not None:
            self._refuse(client, refusal, progress)
        elif client.state is State.CONNECTING:
            if not self._always_connect:
                self._accept(client, progress)
            client.state = State.CONNECTED
            self._counters.clients_accepted += 1
            self._counters.clients_recovered += client.generation > 0
            if (observer := self._sightings.observer) is not None:
                observer.came(client.sid, client.namespace)

    def _refuse(self, client: Client, refusal: Refusal, progress: EntryProgress) -> None:
        client.state = State.GONE
        self._counters.clients_refused += 1
        if self._always_connect and refusal is not INVALID_NAMESPACE:
            self._post(client, Disconnect(client.sid), progress)
            return
        data = self._handlers.encoded(client, refusal)
        self._post(client, Refuse(client.sid, data, client.generation), progress)

    def _record_outcome(
        self, client: Client, inner: EntryProgress, progress: EntryProgress, landed: asyncio.Event
    ) -> None:
        """Changes the client's record when the handler's output is in Redis. Until then, a redelivery runs it again."""
        accepted, ended = Accepted(client.sid, client.generation), Ended(client.sid, client.generation)

        def record() -> None:
            landed.set()
            if is_in:
                self._writer.change(accepted, progress)
            else:
                self._departures.forget(client, ended, progress)

        is_in = client.state is State.CONNECTED
        if is_in or client.state is State.GONE:
            inner.then(record)
        inner.end()

    def _stale(self, client: Client, record: ClientRecord | None) -> Outcome:
        if record is None and client.state is not State.CONNECTED:
            client.state = State.GONE
            client.forgotten = True
        return self._incidents.refused(client, STALE_CONNECT)

    def _accept(self, client: Client, progress: EntryProgress) -> None:
        self._post(client, Accept(client.sid, client.generation), progress)

    def _post(self, client: Client, command: Command, progress: EntryProgress) -> None:
        self._outbox.put(client.io_node, command, 0, progress)


def _newest(record: ClientRecord, *, of_all: bool) -> int:
    """The generation of the last connection: of all, or of those whose end the application must hear."""
    return record.connected.generation if of_all or record.let_in is None else record.let_in


def _is_over(client: Client, fact: ClientConnected, record: ClientRecord) -> bool:
    """Whether this connection has ended already, or the client has connected anew since."""
    was_here = client.state is State.GONE and fact.generation == client.generation
    return was_here or record.away or fact.generation < record.connected.generation
