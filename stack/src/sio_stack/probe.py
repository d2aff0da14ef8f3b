"""Loads an application as its node will, in a process of its own, only to see whether that works.

`python -m sio_stack.probe app|web TARGET` prints one line, APP: or WEB: and the reason, and exits with 2 where it does
not.
"""

import sys

from app_node.interface.server import ClusterServer
from app_node.loading import load
from io_node.load import load_app
from sio_cluster.protocol.errors import ConfigError


def main() -> None:
    kind, target = sys.argv[1:3]
    try:
        if kind == "web":
            load_app(target)
        else:
            server = load(target)
            if not isinstance(server, ClusterServer):
                raise ConfigError(f"{target} is not what app_node.get_client() returns but {type(server).__name__}")
    except ConfigError as error:
        _fail(kind, str(error).removeprefix("--app: "))
    except SystemExit:
        _fail(kind, f"{target} leaves the interpreter when it is loaded")


def _fail(kind: str, text: str) -> None:
    print(f"{kind.upper()}: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(2)


if __name__ == "__main__":
    main()
