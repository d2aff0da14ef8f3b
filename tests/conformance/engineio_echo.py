"""The echo server that the Engine.IO v4 test suite asks for, made of the io-node's own session and transports.

    python tests/conformance/engineio_echo.py [PORT]

Port 3000, path /engine.io, PINGs every 300 ms, 200 ms to answer: the values in the suite's own code.
"""

import sys
from dataclasses import dataclass

import uvicorn

from io_node.engineio.api import Connection, Outbound
from io_node.engineio.server import EngineServer
from sio_cluster.node.settings.config import Config


@dataclass(slots=True)
class Echo:
    """Sends every message back."""

    connection: Connection

    def on_message(self, data: str | bytes) -> None:
        match data:
            case str():
                self.connection.send(Outbound(data.encode("utf-8", "surrogatepass")))
            case bytes():
                self.connection.send(Outbound(None, [data]))

    def on_upgrade(self, transport: str) -> None:
        pass

    def on_close(self, reason: str) -> None:
        pass


class EchoServer:
    def on_connection(self, connection: Connection) -> Echo:
        return Echo(connection)


def uvicorn_config(config: Config) -> uvicorn.Config:
    engine = EngineServer(config, EchoServer(), "echo-aaaaaa")
    return uvicorn.Config(
        engine.polling,
        host=config.http_host,
        port=config.http_port,
        http=engine.http_protocol,  # type: ignore[arg-type]  # a factory does as well as a class
        loop="uvloop",
        lifespan="off",
        log_level="warning",
    )


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    config = Config(
        http_host="127.0.0.1",
        http_port=port,
        socketio_path="/engine.io",
        ping_interval_ms=300,
        ping_timeout_ms=200,
        cors_allowed_origins="*",
    )
    uvicorn.Server(uvicorn_config(config)).run()


if __name__ == "__main__":
    main()
