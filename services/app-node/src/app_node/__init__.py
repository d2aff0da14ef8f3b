"""The process that runs the application. `get_client` returns its server object."""

from app_node.interface.server import ClusterServer, get_client
from sio_cluster.node.config import Config

__all__ = ["ClusterServer", "Config", "get_client"]
