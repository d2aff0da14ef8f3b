"""The process that owns client connections. `listen` attaches it to any ASGI application."""

from io_node.listener import Listener, listen
from sio_cluster.node.config import Config

__all__ = ["Config", "Listener", "listen"]
