"""The benchmark's application on an app-node."""

import app_node
from loadtest.bench.servers import handlers

sio = app_node.get_client()
handlers.register(sio)
