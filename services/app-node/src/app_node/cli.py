"""The command `app-node`."""

import logging
import os
import traceback
from typing import Annotated, Any

import typer
import uvloop

from app_node.interface.server import ClusterServer
from sio_cluster.node.monitoring.log import configure_logging
from sio_cluster.node.process.loading import load_target
from sio_cluster.node.process.running import run_node
from sio_cluster.protocol.errors import ConfigError, TargetBroken

EXIT_REFUSED = 2
"""The exit status where the process refuses to run: a wrong setting or password, a broken application, another
cluster."""

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def run(
    app: Annotated[
        str, typer.Argument(help="Where the server object is: module:sio or path/to/file.py:sio", show_default=False)
    ],
    log_level: Annotated[
        str | None, typer.Option(help="Least level that is logged: debug, info, warning or error. As LOG_LEVEL.")
    ] = None,
    health_port: Annotated[
        int | None, typer.Option(help="Port that answers /healthz, /readyz and /metrics. As HEALTH_PORT.")
    ] = None,
) -> None:
    """Runs a Socket.IO application: the handlers of the server object that `app_node.get_client` returned.

    Settings come from the environment. The README lists them.
    """
    for name, value in (("LOG_LEVEL", log_level), ("HEALTH_PORT", health_port)):
        if value is not None:
            os.environ[name] = str(value)  # the application reads them when it is imported
    try:
        server = load_target(app)
        if not isinstance(server, ClusterServer):
            raise ConfigError(f"{app} is a {_kind(server)}, not what app_node.get_client() returns")
        configure_logging(server.config, node=server.node.id, role="app-node")
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # not when the health port opens and closes
        run_node(server.serve(), uvloop.new_event_loop)
    except ConfigError as error:
        _refuse(error)


def main() -> None:
    cli()


def _refuse(error: ConfigError) -> None:
    """Prints one line, and exits with status 2. LOG_LEVEL=debug shows a broken application's traceback first."""
    cause = error.__cause__ if isinstance(error, TargetBroken) else None
    if cause is not None and os.environ.get("LOG_LEVEL") == "debug":
        traceback.print_exception(cause)

    text = str(cause) if isinstance(cause, ConfigError) else str(error)
    typer.echo(f"app-node: {text}", err=True)
    raise typer.Exit(EXIT_REFUSED)


def _kind(found: Any) -> str:
    return f"{type(found).__module__}.{type(found).__qualname__}"


if __name__ == "__main__":
    main()
