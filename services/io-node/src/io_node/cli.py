"""The command `io-node`, such as `io-node -p 8081 --app path/to/file.py:app`.

A wrong setting or password ends it with one line on stderr and exit status 2.
"""

import contextlib
import resource
import sys
from typing import Annotated, Any

import typer

from io_node.listener import Listener, listen
from io_node.load import load_app
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError

_OPEN_FILES = 131_072
"""How many open files are enough: each client is one."""


def main() -> None:
    """The console script."""
    typer.run(run)


def run(
    port: Annotated[int | None, typer.Option("-p", "--port", help="Port to listen on (HTTP_PORT)")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (HTTP_HOST)")] = None,
    app: Annotated[str | None, typer.Option(help="ASGI application: module:app or path/to/file.py:app")] = None,
) -> None:
    """Hold the connections of Socket.IO clients, and serve an ASGI application on the same port.

    All other settings come from the environment, such as REDIS_URL and PING_INTERVAL_MS.
    """
    given: dict[str, Any] = {"http_port": port, "http_host": host}
    try:
        config = Config({name: value for name, value in given.items() if value is not None})
        listener: Listener = listen(load_app(app) if app is not None else None, config)
        _allow_open_files()
        listener.run()
    except ConfigError as error:
        print(f"io-node: {error}", file=sys.stderr)  # noqa: T201 - for the person who started it
        sys.exit(2)


def _allow_open_files() -> None:
    """Raise the limit of open files as far as the hard limit allows. The soft limit is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has another, undocumented limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
