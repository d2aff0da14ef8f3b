"""Loads an application as its node will, in a process of its own, to see whether that works.

`python -m sio_stack.probe app|web TARGET`. If it does not work, it prints one line with the reason, beginning with
APP: or WEB:, and exits with 2. It imports only the service that is asked for, since each takes half a second.
"""

import sys

from sio_cluster.node.process.loading import load_target
from sio_cluster.protocol.errors import ConfigError


def main() -> None:
    kind, target = sys.argv[1:3]
    try:
        if kind == "web":
            from io_node.load import load_app

            load_app(target)
        else:
            from app_node import ClusterServer

            server = load_target(target)
            if not isinstance(server, ClusterServer):
                raise ConfigError(f"{target} is not what app_node.get_client() returns but {type(server).__name__}")
    except ConfigError as error:
        if _is_exit(error):
            _fail(kind, f"{target} leaves the interpreter when it is loaded")
        _fail(kind, str(error).removeprefix("--app: "))


def _is_exit(error: BaseException | None) -> bool:
    """Whether the application called `sys.exit` while it was loaded."""
    return error is not None and (isinstance(error, SystemExit) or _is_exit(error.__cause__))


def _fail(kind: str, text: str) -> None:
    print(f"{kind.upper()}: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201 - read by who started it
    sys.exit(2)


if __name__ == "__main__":
    main()
