"""An app-node: the process that runs the application's handlers. `get_client` returns the application's server object.
`Emitter` says the same from code without an event loop.

The way of an event through the folders: `uplink` (from Redis to the dispatcher), `clients` and `handlers` (for which
client, which function), `downlink` (commands, back to Redis). `lanes` says what this app-node holds, `membership` what
the cluster knows of it, and `interface` is what the application sees. Each folder's first lines say what it may
import; import-linter checks it.
"""

import sio_cluster  # noqa: F401 - the first import: it finds modules that were compiled
from sio_cluster.node.process.garbage import importing

with importing():
    from app_node.interface.asking import Answers, AnswersMissing, AnswerStream
    from app_node.interface.emitter import Emitter, PresenceReader
    from app_node.interface.namespace import Namespace
    from app_node.interface.presence import Presence
    from app_node.interface.remote_client import Page, RemoteClient
    from app_node.interface.server import ClusterServer, get_client
    from sio_cluster.node.settings.config import Config

__all__ = [
    "AnswerStream",
    "Answers",
    "AnswersMissing",
    "ClusterServer",
    "Config",
    "Emitter",
    "Namespace",
    "Page",
    "Presence",
    "PresenceReader",
    "RemoteClient",
    "get_client",
]
