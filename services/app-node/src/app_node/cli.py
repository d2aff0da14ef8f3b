"""The command `app-node`."""

import asyncio
import logging
import os
import sys
import traceback
from typing import Annotated, Any

import typer

from app_node.interface.server import ClusterServer
from app_node.loading import AppBroken, load
from sio_cluster.node.garbage import tune_collector
from sio_cluster.node.log import configure_logging
from sio_cluster.protocol.errors import BusError, ConfigError

EXIT_REFUSED = 2

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def run(
    app: Annotated[str, typer.Argument(help="module:sio or path/to/file.py:sio", show_default=False)],
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error (LOG_LEVEL)")] = None,
    health_port: Annotated[int | None, typer.Option(help="Serves /healthz, /readyz and /metrics (HEALTH_PORT)")] = None,
) -> None:
    """Runs an application: the handlers of the server object that `app_node.get_client` returned.

    Settings come from the environment; the README lists them.
    """
    for name, value in (("LOG_LEVEL", log_level), ("HEALTH_PORT", health_port)):
        if value is not None:
            os.environ[name] = str(value)  # before the application makes its Config
    try:
        server = load(app)
        if not isinstance(server, ClusterServer):
            raise ConfigError(f"{app} is a {_kind(server)}, not what app_node.get_client() returns")
        configure_logging(server.config, node=server.node.id, role="app-node")
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # of the health port; its life is of no interest
        tune_collector()
        _run(server)
    except (ConfigError, BusError) as error:
        _refuse(error)


def main() -> None:
    cli()


def _run(server: ClusterServer) -> None:
    if sys.platform == "win32":
        asyncio.run(server.serve())
        return
    import uvloop  # there is none for Windows

    uvloop.run(server.serve())


def _refuse(error: ConfigError | BusError) -> None:
    """One line and status 2; with LOG_LEVEL=debug the whole traceback of a broken application first."""
    if isinstance(error, AppBroken) and error.__cause__ is not None and os.environ.get("LOG_LEVEL") == "debug":
        traceback.print_exception(error.__cause__)
    cause = error.__cause__ if isinstance(error, AppBroken) else None
    text = str(cause) if isinstance(cause, ConfigError) else str(error)
    typer.echo(f"app-node: {text}", err=True)
    raise typer.Exit(EXIT_REFUSED)


def _kind(found: Any) -> str:
    return f"{type(found).__module__}.{type(found).__qualname__}"


if __name__ == "__main__":
    main()
