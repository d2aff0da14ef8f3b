"""The options of `socketio.AsyncServer` that `get_client` takes, and what they mean here."""

import warnings
from typing import Any

SERVER_OPTIONS = frozenset(("logger", "json", "async_handlers", "always_connect", "namespaces", "serializer"))
"""Options that work as in python-socketio."""

ENGINE_OPTIONS = frozenset(
    (
        "async_mode", "ping_interval", "ping_timeout", "max_http_buffer_size", "max_decode_packets", "allow_upgrades",
        "http_compression", "compression_threshold", "cookie", "cors_allowed_origins", "cors_credentials",
        "monitor_clients", "transports", "engineio_logger",
    )
)  # fmt: skip
"""Options of Engine.IO. They have no effect on an app-node, and give a warning."""

SETTINGS_OF_IO_NODES = {
    "ping_interval": "PING_INTERVAL_MS",
    "ping_timeout": "PING_TIMEOUT_MS",
    "max_http_buffer_size": "MAX_PAYLOAD_BYTES",
    "allow_upgrades": "ALLOW_UPGRADES",
    "cors_allowed_origins": "CORS_ALLOWED_ORIGINS",
    "cors_credentials": "CORS_CREDENTIALS",
    "transports": "TRANSPORTS",
}
"""The setting of the io-nodes that does what an Engine.IO option did. Options that are not in here have none."""


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that python-socketio's server gets.

    Warns of options of Engine.IO. Raises TypeError for an unknown option, and for one that no cluster can have.
    """
    if "client_manager" in options:
        raise TypeError("client_manager: a cluster needs none, and reaches all clients without it; leave it out")
    if options.get("serializer", "default") != "default":
        raise TypeError("serializer: the cluster speaks Socket.IO's default protocol only")
    unknown = options.keys() - SERVER_OPTIONS - ENGINE_OPTIONS
    if unknown:
        raise TypeError(f"unknown option {', '.join(sorted(unknown))}")
    for name in sorted(options.keys() & ENGINE_OPTIONS):
        setting = SETTINGS_OF_IO_NODES.get(name)
        instead = f"give the io-nodes {setting}" if setting else "it can go"
        warnings.warn(f"{name} has no effect on an app-node: {instead}", stacklevel=4)
    return {name: value for name, value in options.items() if name in SERVER_OPTIONS}
