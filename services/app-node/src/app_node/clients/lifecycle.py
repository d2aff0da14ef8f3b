"""How clients come and go: it runs their `connect` and `disconnect` handlers, and brings them back after a restart.

A client's record says `accepted` from the moment when the output of its connect handler is in Redis. The record is
removed when the output of its disconnect handler is in Redis. Where this app-node dies before that, the lane's next
holder runs the handler again.
"""

import asyncio

import structlog

from app_node.clients.callbacks import Callbacks
from app_node.clients.client import Client, Clients, State
from app_node.clients.incidents import Incidents
from app_node.clients.record_access import RecordAccess
from app_node.counters import CLIENT_CONNECTED, STALE_CONNECT, Outcome
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.handlers.application import INTERNAL_ERROR, INVALID_NAMESPACE, REJECTED, Application, Refusal
from app_node.handlers.endings import raise_unless_own, running_task
from app_node.handlers.turns import HandlerTurns
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress, current_progress
from app_node.payloads import decode_any, encode_any
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import is_quarantine
from sio_cluster.protocol.messages import (
    Accept,
    ClientConnected,
    ClientDisconnected,
    Command,
    Disconnect,
    Refuse,
    Room,
    RoomChanged,
)
from sio_cluster.streams.api.records import Accepted, ClientRecord

log = structlog.get_logger()


class ClientLifecycle:
    """Connect, reconnect and disconnect of each client, and what its record says of it."""

    def __init__(
        self,
        *,
        application: Application,
        clients: Clients,
        outbox: Outbox,
        writer: RecordWriter,
        records: RecordAccess,
        callbacks: Callbacks,
        incidents: Incidents,
        turns: HandlerTurns,
        always_connect: bool,
    ) -> None:
        self._application = application
        self._clients = clients
        self._outbox = outbox
        self._writer = writer
        self._records = records
        self._callbacks = callbacks
        self._incidents = incidents
        self._counters = incidents.counters
        self._turns = turns
        self._always_connect = always_connect

    async def is_ready(self, client: Client, progress: EntryProgress) -> bool:
        """Whether the client's events may be handled. One that is not known here yet is restored from its record."""
        if client.state is State.UNKNOWN:
            record = await self._records.load(client.sid)
            if record is None:
                client.state = State.GONE
                client.forgotten = True
            else:
                await self._restore(client, record, progress)
        return client.state is State.CONNECTED

    async def connected(self, client: Client, fact: ClientConnected, progress: EntryProgress) -> Outcome:
        """A client asks to join: its connect handler decides. Raises LeaseLost where that must not begin any more.

        A client that was accepted before is accepted again, and its handler is not called a second time.
        """
        if client.state is State.CONNECTED:
            self._post(client, Accept(client.sid), progress)
            return CLIENT_CONNECTED
        rooms: set[Room] = set()
        if progress.redelivered:
            record = await self._records.load(client.sid)
            if record is None:
                client.state = State.GONE
                client.forgotten = True
                return self._incidents.refused(client, STALE_CONNECT)
            rooms = record.rooms  # which the handler entered that did not come to its end
            if record.accepted:
                self._post(client, Accept(client.sid), progress)
                await self._restore(client, record, progress)
                return CLIENT_CONNECTED
        progress.lane.require_held()
        client.adopt(fact, rooms)
        inner = self._inner_progress(progress)
        if not self._application.accepts(client.namespace):
            self._refuse(client, INVALID_NAMESPACE, inner)
        else:
            await self._decide(client, inner)
        self._record_outcome(client, inner, progress)
        return CLIENT_CONNECTED

    async def disconnected(self, client: Client, fact: ClientDisconnected, progress: EntryProgress) -> None:
        """A client is gone. Its disconnect handler runs, once, if it had been accepted. Raises LeaseLost."""
        if client.state is State.UNKNOWN:
            record = await self._records.load(client.sid)
            if record is None or not record.accepted:
                client.state = State.GONE
                self._forget(client, progress)
                return
            await self._restore(client, record, progress)
        if client.state is not State.CONNECTED:
            return
        client.state = State.GONE
        current_progress.set(inner := self._inner_progress(progress))
        await asyncio.sleep(0)  # events that were started before this begin to run before the handler does
        if self._turns.must_wait:
            await self._turns.wait()
        progress.lane.require_held()
        await self._run_disconnect(client, fact.reason, progress.lane)
        inner.then(lambda: self._forget(client, progress))
        inner.end()

    async def room_changed(self, client: Client, fact: RoomChanged) -> None:
        """Another app-node changed a room of the client. Its record was changed before, so it says what is true now.

        A client that is not loaded yet gets its rooms from the record anyway.
        """
        if client.state is not State.CONNECTED or (fact.room in client.rooms) is fact.inside:
            return
        settling: set[Room] = set()
        client.settling = settling
        await self._writer.caught_up()  # then the record has all that the application said here before
        record = await self._records.load(client.sid)
        client.settling = None
        if record is not None and fact.room not in settling:  # else the application has said something newer
            client.set_room(fact.room, inside=fact.room in record.rooms)

    async def disconnect(self, client: Client, progress: EntryProgress | None, *, close: bool = False) -> None:
        """The application disconnects a client; with `close`, its whole connection. The `disconnect` handler runs now.

        The record is removed when the command is in Redis. Should this app-node die before, the next one still finds
        whom to disconnect.
        """
        client.state = State.GONE
        if progress is None:
            batch = self._outbox.put(client.io_node, Disconnect(client.sid, close), 0, None)
            await self._run_disconnect(client, reasons.SERVER_DISCONNECT, None)
            await batch.landed()
            self._forget(client, None)
            return
        inner = self._inner_progress(progress)
        self._post(client, Disconnect(client.sid, close), inner)
        try:
            await self._run_disconnect(client, reasons.SERVER_DISCONNECT, None)
        finally:  # also if the application cancels the handler that disconnects this client
            current_progress.set(progress)
            inner.then(lambda: self._forget(client, progress))
            inner.end()

    async def _restore(self, client: Client, record: ClientRecord, progress: EntryProgress) -> None:
        """Makes the client known here. A connect handler that takes `is_reconnect` is called with True."""
        progress.lane.require_held()
        client.restore(record)
        self._counters.clients_restored += 1
        if not record.accepted:  # but it was let in: io-nodes pass on no events of others
            self._writer.change(Accepted(client.sid), progress)
        if self._application.wants_reconnect(client.namespace):
            refusal = await self._run_reconnect(client, progress)
            if refusal is not None and refusal is not INTERNAL_ERROR:  # a defect must not send clients away for good
                log.info("reconnect_refused", sid=client.sid, lane=progress.lane.number)
                await self.disconnect(client, progress)
                return
        client.state = State.CONNECTED

    async def _decide(self, client: Client, progress: EntryProgress) -> None:
        """Runs the connect handler, and does what it says."""
        if self._always_connect:
            self._post(client, Accept(client.sid), progress)
        refusal = await self._ask(client, is_reconnect=False)
        if refusal is not None:
            self._refuse(client, refusal, progress)
        elif client.state is State.CONNECTING:
            if not self._always_connect:
                self._post(client, Accept(client.sid), progress)
            client.state = State.CONNECTED
            self._counters.clients_accepted += 1

    async def _ask(self, client: Client, *, is_reconnect: bool) -> Refusal | None:
        """What the connect handler says. A client that it disconnects instead is refused."""
        refusal = await self._run_connect(client, is_reconnect=is_reconnect)
        return REJECTED if client.turned_away and refusal in (None, INTERNAL_ERROR) else refusal

    async def _run_reconnect(self, client: Client, progress: EntryProgress) -> Refusal | None:
        """In quarantine the record says while this lasts: whether it or the fact's own handler ended the process."""
        lease = progress.lane.lease
        if not is_quarantine(lease.lane):
            return await self._ask(client, is_reconnect=True)
        await self._records.mark_restoring(client.sid, begun=True, lease=lease)
        refusal = await self._ask(client, is_reconnect=True)
        await self._records.mark_restoring(client.sid, begun=False, lease=lease)
        return refusal

    async def _run_connect(self, client: Client, *, is_reconnect: bool) -> Refusal | None:
        task = running_task()
        try:
            auth = None if client.auth is None else decode_any(client.auth, self._application.json_module)
            return await self._application.connect(
                client.namespace, client.sid, client.environ, auth, is_reconnect=is_reconnect
            )
        except BaseException as error:  # noqa: BLE001 - the application's own error, which may be any
            raise_unless_own(error, task, client.lane)
            self._incidents.handler_failed(client, "connect")
            return INTERNAL_ERROR
        finally:
            client.settled()

    def _refuse(self, client: Client, refusal: Refusal, progress: EntryProgress) -> None:
        client.state = State.GONE
        self._counters.clients_refused += 1
        if self._always_connect and refusal is not INVALID_NAMESPACE:
            self._post(client, Disconnect(client.sid), progress)
            return
        try:
            payload = encode_any(refusal.payload, self._application.json_module)
        except BaseException as error:  # noqa: BLE001 - what the application gives as data, or its own JSON module
            raise_unless_own(error, running_task(), client.lane)
            self._incidents.handler_failed(client, "connect")
            message = refusal.payload.get("message")
            payload = encode_any({"message": message} if type(message) is str else REJECTED.payload)
        self._post(client, Refuse(client.sid, payload), progress)

    async def _run_disconnect(self, client: Client, reason: str, lane: Lane | None) -> None:
        """Runs the disconnect handler. `lane`: see `raise_unless_own`."""
        task = running_task()
        self._callbacks.forget_client(client.sid)
        self._counters.clients_disconnected += 1
        try:
            await self._application.disconnect(client.namespace, client.sid, reason)
        except BaseException as error:  # noqa: BLE001 - the application's own error, which may be any
            raise_unless_own(error, task, lane)
            self._incidents.handler_failed(client, "disconnect")

    def _record_outcome(self, client: Client, inner: EntryProgress, progress: EntryProgress) -> None:
        """Changes the client's record when the handler's output is in Redis. Until then, a redelivery runs it again."""
        if client.state is State.CONNECTED:
            inner.then(lambda: self._writer.change(Accepted(client.sid), progress))
        elif client.state is State.GONE:
            inner.then(lambda: self._forget(client, progress))
        inner.end()

    def _forget(self, client: Client, progress: EntryProgress | None) -> None:
        """Removes the client's record, and then the client: in this order, so that a late event cannot restore it."""

        def forgotten() -> None:
            client.forgotten = True
            if not client.busy:
                self._clients.remove(client)

        self._writer.forget(client.sid, progress, forgotten)

    def _inner_progress(self, progress: EntryProgress) -> EntryProgress:
        """The progress of one fact alone. Its `then` is called when the output of the fact's handler is in Redis."""
        progress.begin()
        inner = EntryProgress(progress.lane, progress.entry_id, progress.redelivered, lambda _: progress.end())
        current_progress.set(inner)
        return inner

    def _post(self, client: Client, command: Command, progress: EntryProgress | None) -> None:
        self._outbox.put(client.io_node, command, 0, progress)
