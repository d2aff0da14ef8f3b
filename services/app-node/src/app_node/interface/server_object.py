"""What the parts of the server object need of it.

`ClusterServer` inherits from `Queries`, `Asking`, `AppNodeEvents` and `ForAllWhoMatch`, and has a `ClusterManager`. It
knows them; they know only this.
"""

from typing import Any, Protocol

from app_node.app import AppNode
from app_node.handlers.application import Application
from app_node.interface.remote_client import Server


class ServerObject(Server, Protocol):
    """The server object, as its parts see it. What `RemoteClient` needs is in here too."""

    application: Application
    async_handlers: bool
    manager: Any

    @property
    def node(self) -> AppNode:
        """The app-node that the server object is now."""
