"""Makes the clients of this io-node: who asks to join is given a sid, and a pid where it can use one."""

from collections.abc import Callable

from io_node.socketio.capability import Trusted, can_use_offsets, read_auth
from io_node.socketio.client import Client, Membership, Session
from sio_cluster.protocol.ids import RandomBytes, lane_of, new_sid
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.protocol.recovery import hash_of, new_secret, pid_of
from sio_cluster.protocol.socketio import Connect


class Newcomers:
    """The session's `NewClients`.

    `recovers`: whether RECOVERY_WINDOW_MS says that sessions can be claimed back. `clients`: RECOVERY_CLIENTS.
    `is_offered`: whether the whole cluster is so far.
    """

    def __init__(
        self,
        node_id: str,
        lanes: int,
        *,
        hub: Membership,
        random_bytes: RandomBytes,
        recovers: bool,
        clients: Trusted,
        is_offered: Callable[[], bool],
    ) -> None:
        self._node_id = node_id
        self._lanes = lanes
        self._hub = hub
        self._random_bytes = random_bytes
        self._recovers = recovers
        self._clients = clients
        self._is_offered = is_offered

    def new_client(self, session: Session, connect: Connect) -> Client:
        """A client with a fresh sid. It is not a member yet: the hub adds it when the application is told of it.

        Where it shows a pid and may claim a session back, `asked` says so.
        """
        handshake = session.connection.handshake
        sid = new_sid(self._node_id, self._random_bytes)
        lane = lane_of(sid, self._lanes)
        transport = session.connection.transport
        if not self._recovers:
            asked = read_auth(connect.auth)
            auth = connect.auth if asked.pid is None else asked.auth  # a client shows its pid for as long as it lives
            connected = ClientConnected(sid, session.name, connect.namespace, auth, handshake, transport)
            return Client(session, connected, lane, self._hub)
        asked = read_auth(connect.auth)
        capable = self._is_offered() and can_use_offsets(handshake, asked, self._clients)
        secret = new_secret(self._random_bytes) if capable else ""
        pid_hash = hash_of(secret) if capable else b""
        connected = ClientConnected(
            sid, session.name, connect.namespace, asked.auth, handshake, transport, pid_hash=pid_hash
        )
        return Client(
            session,
            connected,
            lane,
            self._hub,
            pid=pid_of(sid, secret) if capable else "",
            asked=asked if capable and asked.shows_pid else None,
        )
