"""The application that `io-node --app` names."""

from typing import cast

from io_node.front import AsgiApp
from sio_cluster.node.process.loading import load_target
from sio_cluster.protocol.errors import ConfigError, TargetBroken, TargetNotFound


def load_app(target: str) -> AsgiApp:
    """The object that `module:name` or `path/to/file.py:name` names.

    Raises ConfigError with one line of text where there is none, where its file fails, or where it cannot be called
    and so is no ASGI application.
    """
    try:
        found = load_target(target)
    except (TargetNotFound, TargetBroken) as error:
        raise ConfigError(f"--app: {error}") from error
    if not callable(found):
        raise ConfigError(f"--app: {target} is not an ASGI application but {type(found).__name__}")
    return cast(AsgiApp, found)
