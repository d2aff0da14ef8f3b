"""Letting clients in, bringing them back after a restart, and seeing them off.

A record says `accepted` once the connect handler's output is in Redis, and goes once the disconnect handler's is: what
dies in between is done again by the lane's next holder, and a client's disconnect is handled once.
"""

import asyncio
from typing import Protocol

import structlog

from app_node.clients.callbacks import AckBook
from app_node.clients.client import Client, Clients, State
from app_node.clients.incidents import Incidents
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.handlers.application import INTERNAL_ERROR, INVALID_NAMESPACE, Application, Refusal
from app_node.handlers.signatures import raise_if_cancelled
from app_node.lanes.progress import Scope, current_scope
from app_node.payloads import decode_any, encode
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.messages import Accept, ClientConnected, ClientDisconnected, Command, Disconnect, Refuse
from sio_cluster.streams.redis.records import Accepted, ClientRecord

log = structlog.get_logger()


class Loader(Protocol):
    async def load(self, sid: str) -> ClientRecord | None:
        """The client's record. Waits out Redis' absence."""


class Admission:
    """Runs `connect` and `disconnect` handlers, and keeps clients' records true to what they said."""

    def __init__(
        self,
        *,
        application: Application,
        clients: Clients,
        outbox: Outbox,
        writer: RecordWriter,
        records: Loader,
        acks: AckBook,
        incidents: Incidents,
        always_connect: bool,
    ) -> None:
        self._application = application
        self._clients = clients
        self._outbox = outbox
        self._writer = writer
        self._records = records
        self._acks = acks
        self._incidents = incidents
        self._counters = incidents.counters
        self._always_connect = always_connect

    async def is_ready(self, client: Client, scope: Scope) -> bool:
        """Whether the client may have events: one that is not known here is made anew from its record."""
        if client.state is State.UNKNOWN:
            record = await self._records.load(client.sid)
            if record is None:
                client.state = State.GONE
                client.forgotten = True
            else:
                await self._restore(client, record, scope)
        return client.state is State.CONNECTED

    async def connected(self, client: Client, fact: ClientConnected, scope: Scope) -> str:
        """A client asks to join. One that was accepted before is accepted again, without a second call.

        What the fact counts as. Raises LeaseLost, as the two others do, where a handler must not begin any more.
        """
        if client.state is State.CONNECTED:
            self._post(client, Accept(client.sid), scope)
            return "handled.connected"
        if scope.redelivered:
            record = await self._records.load(client.sid)
            if record is None:
                client.state = State.GONE
                client.forgotten = True
                return self._incidents.refused(client, "stale_connect")
            if record.accepted:
                self._post(client, Accept(client.sid), scope)
                await self._restore(client, record, scope)
                return "handled.connected"
        scope.lane.require_held()
        client.adopt(fact)
        inner = self._inner_scope(scope)
        if not self._application.accepts(client.namespace):
            self._refuse(client, INVALID_NAMESPACE, inner)
        else:
            await self._decide(client, inner)
        self._record_outcome(client, inner, scope)
        return "handled.connected"

    async def disconnected(self, client: Client, fact: ClientDisconnected, scope: Scope) -> None:
        """A client is gone. Its handler runs if it was accepted, once."""
        if client.state is State.UNKNOWN:
            record = await self._records.load(client.sid)
            if record is None or not record.accepted:
                client.state = State.GONE
                self._forget(client, scope)
                return
            await self._restore(client, record, scope)
        if client.state is not State.CONNECTED:
            return
        client.state = State.GONE
        current_scope.set(inner := self._inner_scope(scope))
        await asyncio.sleep(0)  # events that were started before take their first step before the handler does
        scope.lane.require_held()
        await self._run_disconnect(client, fact.reason)
        inner.then(lambda: self._forget(client, scope))
        inner.end()

    async def disconnect(self, client: Client, scope: Scope | None) -> None:
        """The application disconnects a client: the `disconnect` handler runs now, as in python-socketio.

        The record goes once the command is in Redis: until then a redelivery must find whom to disconnect.
        """
        client.state = State.GONE
        if scope is None:
            batch = self._outbox.put(client.io_node, Disconnect(client.sid), 0, None)
            await self._run_disconnect(client, reasons.SERVER_DISCONNECT)
            await batch.landed()
            self._forget(client, None)
            return
        inner = self._inner_scope(scope)
        self._post(client, Disconnect(client.sid), inner)
        await self._run_disconnect(client, reasons.SERVER_DISCONNECT)
        current_scope.set(scope)
        inner.then(lambda: self._forget(client, scope))
        inner.end()

    async def _restore(self, client: Client, record: ClientRecord, scope: Scope) -> None:
        """Calls the connect handler with `is_reconnect=True` where it asks for that."""
        scope.lane.require_held()
        client.restore(record)
        self._counters.add("clients_restored")
        if not record.accepted:  # the io-node passes events on for clients that are in, so this one is
            self._writer.change(Accepted(client.sid), scope)
        if self._application.wants_reconnect(client.namespace):
            refusal = await self._run_connect(client, is_reconnect=True)
            if refusal is not None and refusal is not INTERNAL_ERROR:  # a client that is sent away does not come back
                log.info("reconnect_refused", sid=client.sid, lane=scope.lane.number)
                await self.disconnect(client, scope)
                return
        client.state = State.CONNECTED

    async def _decide(self, client: Client, scope: Scope) -> None:
        """Runs the connect handler and carries out what it says."""
        if self._always_connect:
            self._post(client, Accept(client.sid), scope)
        refusal = await self._run_connect(client, is_reconnect=False)
        if refusal is not None:
            self._refuse(client, refusal, scope)
        elif client.state is State.CONNECTING:
            if not self._always_connect:
                self._post(client, Accept(client.sid), scope)
            client.state = State.CONNECTED
            self._counters.add("clients_accepted")

    async def _run_connect(self, client: Client, *, is_reconnect: bool) -> Refusal | None:
        try:
            auth = None if client.auth is None else decode_any(client.auth, self._application.json_module)
            return await self._application.connect(
                client.namespace, client.sid, client.environ, auth, is_reconnect=is_reconnect
            )
        except (asyncio.CancelledError, LeaseLost):
            raise_if_cancelled()
            return INTERNAL_ERROR
        except Exception:  # noqa: BLE001 - the application's own error, which may be any
            self._incidents.handler_failed(client, "connect")
            return INTERNAL_ERROR

    def _refuse(self, client: Client, refusal: Refusal, scope: Scope) -> None:
        client.state = State.GONE
        self._counters.add("clients_refused")
        if self._always_connect and refusal is not INVALID_NAMESPACE:
            self._post(client, Disconnect(client.sid), scope)
            return
        try:
            payload = encode([refusal.payload], self._application.json_module).text[1:-1]
        except (TypeError, ValueError, RecursionError):
            self._incidents.handler_failed(client, "connect")
            payload = encode([{"message": str(refusal.payload.get("message"))}]).text[1:-1]
        self._post(client, Refuse(client.sid, payload), scope)

    async def _run_disconnect(self, client: Client, reason: str) -> None:
        self._acks.forget_client(client.sid)
        self._counters.add("clients_disconnected")
        try:
            await self._application.disconnect(client.namespace, client.sid, reason)
        except (asyncio.CancelledError, LeaseLost):
            raise_if_cancelled()
        except Exception:  # noqa: BLE001 - the application's own error, which may be any
            self._incidents.handler_failed(client, "disconnect")

    def _record_outcome(self, client: Client, inner: Scope, scope: Scope) -> None:
        """Written when the handler's output is in Redis: until then a redelivery runs the handler again."""
        if client.state is State.CONNECTED:
            inner.then(lambda: self._writer.change(Accepted(client.sid), scope))
        elif client.state is State.GONE:
            inner.then(lambda: self._forget(client, scope))
        inner.end()

    def _forget(self, client: Client, scope: Scope | None) -> None:
        """The instance stays until the record is gone, so that a late event does not bring the client back."""

        def forgotten() -> None:
            client.forgotten = True
            if not client.draining:
                self._clients.remove(client)

        self._writer.forget(client.sid, scope, forgotten)

    def _inner_scope(self, scope: Scope) -> Scope:
        """A scope of one fact's own: what must wait until its handler's output is in Redis goes into `then`."""
        scope.begin()
        inner = Scope(scope.lane, scope.id, scope.redelivered, lambda _: scope.end())
        current_scope.set(inner)
        return inner

    def _post(self, client: Client, command: Command, scope: Scope | None) -> None:
        self._outbox.put(client.io_node, command, 0, scope)
