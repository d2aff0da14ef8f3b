"""Class-based namespaces, with what a `ClusterServer` can do besides python-socketio's server."""

from app_node.interface.python_socketio import AsyncNamespace


class Namespace(AsyncNamespace):
    """As `socketio.AsyncNamespace`, which works too: its methods `on_EVENT` are handlers.

    The methods that are not in python-socketio call those of the server, with this namespace where none is given.
    """

    async def close_connection(self, sid: str, namespace: str | None = None) -> None:
        """As `ClusterServer.close_connection`."""
        await self.server.close_connection(sid, namespace=namespace or self.namespace)

    def was_recovered(self, sid: str, namespace: str | None = None) -> bool:
        """As `ClusterServer.was_recovered`."""
        recovered: bool = self.server.was_recovered(sid, namespace=namespace or self.namespace)
        return recovered

    def is_redelivered(self) -> bool:
        """As `ClusterServer.is_redelivered`."""
        redelivered: bool = self.server.is_redelivered()
        return redelivered
