"""Runs the `connect` and `disconnect` handlers of one client. What they raise is logged and counted, as their end."""

from app_node.clients.callbacks import Callbacks
from app_node.clients.client import Client
from app_node.clients.incidents import Incidents
from app_node.clients.sightings import Sightings
from app_node.handlers.application import INTERNAL_ERROR, REJECTED, Application, Refusal
from app_node.handlers.endings import forget_cancellation, raise_unless_own, running_task
from app_node.lanes.lane import Lane
from app_node.payloads import decode_any, encode_any
from sio_cluster.protocol import reasons


class ConnectionHandlers:
    """What the application says when a client comes, and what it is told when one goes."""

    def __init__(
        self, application: Application, callbacks: Callbacks, incidents: Incidents, sightings: Sightings
    ) -> None:
        self._application = application
        self._callbacks = callbacks
        self._incidents = incidents
        self._sightings = sightings

    async def connect(self, client: Client, *, is_reconnect: bool) -> Refusal | None:
        """What the connect handler says. A client that it disconnects instead is refused."""
        refusal = await self._run_connect(client, is_reconnect=is_reconnect)
        await forget_cancellation(running_task(), client.lane)
        return REJECTED if client.turned_away and refusal in (None, INTERNAL_ERROR) else refusal

    def put_off(self, client: Client, reason: str) -> None:
        """Its connection has ended, and the application is not told of it yet."""
        self._give_up_questions(client, reason)

    async def disconnect(self, client: Client, reason: str, lane: Lane | None) -> None:
        """Runs the disconnect handler. `lane`: see `raise_unless_own`."""
        task = running_task()
        self._give_up_questions(client, reason)
        self._incidents.counters.clients_disconnected += 1
        if (observer := self._sightings.observer) is not None:
            observer.went(client.sid, client.namespace, reason)
        try:
            await self._application.disconnect(client.namespace, client.sid, reason)
        except BaseException as error:  # noqa: BLE001 - the application's own error, which may be any
            raise_unless_own(error, task, lane)
            self._incidents.handler_failed(client, "disconnect")
        if lane is not None:
            await forget_cancellation(task, lane)

    def encoded(self, client: Client, refusal: Refusal) -> bytes:
        """The refusal as JSON. Without its data where that cannot be encoded."""
        try:
            return encode_any(refusal.payload, self._application.json_module)
        except BaseException as error:  # noqa: BLE001 - what the application gives as data, or its own JSON module
            raise_unless_own(error, running_task(), client.lane)
            self._incidents.handler_failed(client, "connect")
            message = refusal.payload.get("message")
            return encode_any({"message": message} if type(message) is str else REJECTED.payload)

    def _give_up_questions(self, client: Client, reason: str) -> None:
        if reason == reasons.NODE_LOST:  # else its io-node says what will not be answered, behind the last answer
            self._callbacks.lost(client.sid)

    async def _run_connect(self, client: Client, *, is_reconnect: bool) -> Refusal | None:
        task = running_task()
        try:
            auth = None if client.auth is None else decode_any(client.auth, self._application.json_module)
            return await self._application.connect(
                client.namespace,
                client.sid,
                client.environ,
                auth,
                is_reconnect=is_reconnect,
                is_recovered=client.is_recovered and not is_reconnect,
            )
        except BaseException as error:  # noqa: BLE001 - the application's own error, which may be any
            raise_unless_own(error, task, client.lane)
            self._incidents.handler_failed(client, "connect")
            return INTERNAL_ERROR
        finally:
            client.settled()
