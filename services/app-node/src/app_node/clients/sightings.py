"""What can be seen of clients here, for whoever observes: nobody, as a rule, and then it costs nothing."""

from collections.abc import Sequence
from typing import Any, Protocol

from sio_cluster.protocol.messages import Room


class Observer(Protocol):
    """Is told at once. Its methods never wait and raise nothing."""

    def came(self, sid: str, namespace: str) -> None:
        """The application has let the client in. Its record says so a moment later."""

    def went(self, sid: str, namespace: str, reason: str) -> None: ...

    def upgraded(self, sid: str, namespace: str, transport: str) -> None: ...

    def entered(self, sid: str, namespace: str, room: Room) -> None: ...

    def left(self, sid: str, namespace: str, room: Room) -> None: ...

    def missed(self) -> None:
        """Something has changed of a client that this app-node does not know."""

    def received(self, sid: str, namespace: str, event: Sequence[Any]) -> None:
        """The client has sent this event: its name, and its arguments."""

    def sent(self, namespace: str, to: Sequence[Room] | None, event: Sequence[Any]) -> None:
        """The application has emitted this event. `to` None: to everybody."""


class Sightings:
    """Where the parts of an app-node find the observer."""

    __slots__ = ("observer",)

    def __init__(self) -> None:
        self.observer: Observer | None = None
