"""An io-node: the process that holds client connections and passes their messages to app-nodes through Redis.

`listen` attaches one to any ASGI application. May import: sio_cluster, never app_node. Inside, upper modules import
lower ones and never the other way; modules on one line do not import each other:

    cli
    listener, load
    app                                 makes the parts and starts them
    metrics, routes, front
    client_files
    recovery                            sessions that are claimed back; the homes of clients that came here
    bus, socketio                       facts and commands through Redis; namespaces and rooms
    engineio                            connections and transports
    backpressure, turns
"""

import sio_cluster  # noqa: F401 - the first import: it finds modules that were compiled
from sio_cluster.node.process.garbage import importing

with importing():
    from io_node.listener import Listener, listen
    from sio_cluster.node.settings.config import Config

__all__ = ["Config", "Listener", "listen"]
