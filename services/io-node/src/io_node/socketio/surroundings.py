"""What a session needs of the node around it."""

from typing import Protocol

from io_node.engineio.api import Connection
from io_node.socketio.client import Client, Session
from sio_cluster.protocol.messages import Fact
from sio_cluster.protocol.socketio import Connect


class FactSink(Protocol):
    """The uplink."""

    def put(self, destination: int | str, fact: Fact, sender: Connection) -> None:
        """Pass a fact on to a lane (int) or to an app-node (its id). Never drops; may pause reading from `sender`."""

    def renounce(self, sid: str, generation: int) -> None:
        """Nobody may claim this session any more. Redis is told before the facts that are put from now on."""

    def forget(self, sender: Connection) -> None:
        """This connection is closed."""


class NewClients(Protocol):
    """Who makes the clients of this node."""

    def new_client(self, session: Session, connect: Connect) -> Client: ...


class Claims(Protocol):
    """Where it is looked at whether a client may have the session back that it claims."""

    def begin(self, client: Client) -> None:
        """Calls `client.session.pass_on(client)` later: as the client whose session it is, or as a new one."""

    def leave(self, client: Client, reason: str) -> bool:
        """Its connection has closed. True if its claim was looked at, and it is not passed on then."""


class Throttle(Protocol):
    """Where clients wait until they may be passed on to the application."""

    def enter(self, client: Client) -> None:
        """Calls `client.session.admit(client)`, now or later."""

    def leave(self, client: Client) -> bool:
        """Stop waiting. True if the client was waiting."""
