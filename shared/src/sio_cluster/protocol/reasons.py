"""Why a client is gone: the `reason` that a `disconnect` handler gets.

docs/operations.md says when each is given. The first five are python-socketio's own words
(engineio.AsyncServer.reason); the rest have no counterpart there.
"""

CLIENT_DISCONNECT = "client disconnect"
SERVER_DISCONNECT = "server disconnect"
PING_TIMEOUT = "ping timeout"
TRANSPORT_CLOSE = "transport close"
TRANSPORT_ERROR = "transport error"

PARSE_ERROR = "parse error"
SLOW_CONSUMER = "slow consumer"
NODE_DRAINED = "node drained"
NODE_LOST = "node lost"

ALL = (
    CLIENT_DISCONNECT,
    SERVER_DISCONNECT,
    PING_TIMEOUT,
    TRANSPORT_CLOSE,
    TRANSPORT_ERROR,
    PARSE_ERROR,
    SLOW_CONSUMER,
    NODE_DRAINED,
    NODE_LOST,
)
