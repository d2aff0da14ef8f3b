"""The command `sio-cluster-bridge`."""

import logging
import os
from typing import Annotated

import typer
import uvloop

from app_node.bridge.process import Bridge
from sio_cluster.node.monitoring.log import configure_logging
from sio_cluster.node.process.running import run_node
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError

EXIT_REFUSED = 2
"""The exit status where the process refuses to run: a wrong setting or password, another cluster."""

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def run(
    log_level: Annotated[
        str | None, typer.Option(help="Least level that is logged: debug, info, warning or error. As LOG_LEVEL.")
    ] = None,
    health_port: Annotated[
        int | None, typer.Option(help="Port that answers /healthz, /readyz and /metrics. As HEALTH_PORT.")
    ] = None,
) -> None:
    """Passes on what programs with python-socketio's RedisManager, or a Redis emitter for Node.js, send to clients.

    Settings come from the environment. The README lists them; docs/bridges.md says what works.
    """
    for name, value in (("LOG_LEVEL", log_level), ("HEALTH_PORT", health_port)):
        if value is not None:
            os.environ[name] = str(value)
    try:
        bridge = Bridge(Config())
        configure_logging(bridge.config, node=bridge.id, role="bridge")
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # not when the health port opens and closes
        run_node(bridge.serve(), uvloop.new_event_loop)
    except ConfigError as error:
        typer.echo(f"sio-cluster-bridge: {error}", err=True)
        raise typer.Exit(EXIT_REFUSED) from None


def main() -> None:
    cli()


if __name__ == "__main__":
    main()
