"""How clients go: their `disconnect` handlers run, and then their records say that they are gone.

The record says so when what the handler said is in Redis. Where this app-node dies before that, the lane's next holder
runs the handler again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from app_node.clients.client import Client, Clients, State
from app_node.clients.connection_handlers import ConnectionHandlers
from app_node.clients.record_access import RecordAccess
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.handlers.turns import HandlerTurns
from app_node.lanes.progress import EntryProgress, current_progress
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import Disconnect
from sio_cluster.streams.api.records import ClientRecord, Ended


class Departures:
    """The ends of clients' connections."""

    def __init__(
        self,
        *,
        handlers: ConnectionHandlers,
        clients: Clients,
        outbox: Outbox,
        writer: RecordWriter,
        records: RecordAccess,
        turns: HandlerTurns,
    ) -> None:
        self._handlers = handlers
        self._clients = clients
        self._outbox = outbox
        self._writer = writer
        self._records = records
        self._turns = turns
        self._sent_away: dict[str, asyncio.Event] = {}  # by sid: the application's `disconnect` has not ended

    async def end(
        self,
        client: Client,
        ended: Ended,
        reason: str,
        progress: EntryProgress,
        when_written: Callable[[], None] = lambda: None,
    ) -> None:
        """The connection of a client that was let in has ended: runs its disconnect handler. Raises LeaseLost.

        Calls `when_written` once the record says so.
        """
        client.state = State.GONE
        client.generation = ended.generation
        inner = progress.part()
        current_progress.set(inner)
        await asyncio.sleep(0)  # events that were started before this begin to run before the handler does
        if self._turns.must_wait:
            await self._turns.wait()
        progress.lane.require_held()
        await self._handlers.disconnect(client, reason, progress.lane)
        inner.then(lambda: self.forget(client, ended, progress, when_written))
        inner.end()

    async def disconnect(self, client: Client, progress: EntryProgress | None, *, close: bool = False) -> None:
        """The application disconnects a client; with `close`, its whole connection. The `disconnect` handler runs now.

        The record is removed when the command is in Redis. Should this app-node die before, the next one still finds
        whom to disconnect.
        """
        client.state = State.GONE
        ended = Ended(client.sid, client.generation)
        over = self._sent_away[client.sid] = asyncio.Event()
        try:
            if progress is None:
                batch = self._outbox.put(client.io_node, Disconnect(client.sid, close), 0, None)
                await self._handlers.disconnect(client, reasons.SERVER_DISCONNECT, None)
                await batch.landed()
                self.forget(client, ended, None)
                return
            inner = progress.part()
            current_progress.set(inner)
            self._outbox.put(client.io_node, Disconnect(client.sid, close), 0, inner)
            try:
                await self._handlers.disconnect(client, reasons.SERVER_DISCONNECT, None)
            finally:  # also if the application cancels the handler that disconnects this client
                current_progress.set(progress)
                inner.then(lambda: self.forget(client, ended, progress))
                inner.end()
        finally:
            del self._sent_away[client.sid]
            over.set()

    def put_off(self, client: Client, ended: Ended, reason: str, progress: EntryProgress) -> None:
        """The connection of a client that was let in has ended, and the application is not told of it now.

        The client counts as connected, until it is `overdue` in Redis and this comes back as a disconnect for good.
        """
        client.generation = max(client.generation, ended.generation)
        self._handlers.put_off(client, reason)
        self._writer.forget(replace(ended, untold=reason), progress, lambda: None)

    async def keep_away(self, record: ClientRecord, progress: EntryProgress | None) -> None:
        """A client that is away cannot come back any more. Outside of handlers it returns when Redis knows that.

        Where its `disconnect` handler has not run, the client is `overdue` now, so that it will.
        """
        ended = Ended(record.connected.sid, record.connected.generation)
        if record.let_in is not None:
            await self._records.renounce(ended.sid, ended.generation)
            ended = replace(ended, keep_ms=1, untold=reasons.SERVER_DISCONNECT)
        written = asyncio.Event()
        self._writer.forget(ended, progress, written.set)
        if progress is None:
            await written.wait()

    async def over(self, client: Client) -> None:
        """Returns when no `disconnect` of the application is under way for this client."""
        if client.sid in self._sent_away:
            await self._sent_away[client.sid].wait()

    def forget(
        self,
        client: Client,
        ended: Ended,
        progress: EntryProgress | None,
        when_written: Callable[[], None] = lambda: None,
    ) -> None:
        """Has this written into the record, and then forgets the client: in this order, so that a late event cannot
        restore it. One that has connected anew meanwhile is not forgotten."""
        client.generation = max(client.generation, ended.generation)

        def forgotten() -> None:
            when_written()
            if client.state is State.GONE and client.generation == ended.generation:
                client.forgotten = True
                if not client.busy:
                    self._clients.remove(client)

        self._writer.forget(ended, progress, forgotten)
