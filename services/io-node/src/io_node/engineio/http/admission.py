"""Which requests the engine takes. Both ways in ask here: the polling endpoint and the WebSocket handshake."""

from io_node.engineio.connection import EngineConnection
from io_node.engineio.connections import Connections
from io_node.engineio.http.cors import OriginPolicy
from io_node.engineio.http.descriptors import Descriptors
from io_node.engineio.http.request import DRAINING, FORBIDDEN, NO_DESCRIPTORS, NOT_READY, Refusal, Request, check
from sio_cluster.node.settings.config import Config


class Admission:
    """Judges the heads of requests, opens connections for those that may have one, and counts what it refuses."""

    def __init__(self, config: Config, connections: Connections) -> None:
        self.config = config
        self.connections = connections
        self.origins = OriginPolicy(config)
        self.descriptors = Descriptors()

    def handles(self, path: str) -> bool:
        """Whether requests to this path, without percent-encoding, are for the engine: SOCKETIO_PATH, or any below it.

        Socket.IO's own server takes all that begins with its path and a slash, such as `/socket.io/` and
        `/socket.io/v2`. `/socket.io` alone is for clients with `addTrailingSlash: false`. python-socketio takes both.
        """
        own = self.config.socketio_path
        return path.startswith(own) and path[len(own) : len(own) + 1] in ("", "/")

    def check(self, request: Request, *, upgrade: bool) -> Refusal | None:
        """Judge the head of a request. None: it may go on."""
        sid = request.fields.get("sid")
        connection = self.connections.find(sid) if sid else None
        refusal = check(
            request,
            self.config.transports,
            None if connection is None else connection.transport,
            upgrade=upgrade,
        )
        if refusal is None and not self.origins.allows(request.headers, request.scheme):
            refusal = FORBIDDEN
        if refusal is None and (connection is None or upgrade) and self.descriptors.run_short():
            refusal = NO_DESCRIPTORS
        return refusal if refusal is None else self.refused(refusal)

    def refused(self, refusal: Refusal) -> Refusal:
        """Count a refusal, and return it."""
        self.connections.counters.refused[refusal.message] += 1
        return refusal

    def open(self, request: Request, transport: str) -> EngineConnection | Refusal:
        """A new connection. The caller calls `start` once it can write."""
        connection = self.connections.open(request.handshake(), transport, request.payload_packets)
        if connection is None:
            return self.refused(DRAINING if self.connections.draining else NOT_READY)
        return connection
