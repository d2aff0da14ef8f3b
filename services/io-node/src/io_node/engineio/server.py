"""The Engine.IO half of an io-node: its connections and the two ways in, behind one object."""

import functools
import secrets
import time
from collections.abc import Callable

from io_node.engineio.api import Accepter
from io_node.engineio.connections import Connections
from io_node.engineio.http import EngineHttpProtocol
from io_node.engineio.limits import EngineCounters
from io_node.engineio.polling import PollingEndpoint
from io_node.engineio.wheel import TimerWheel
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import RandomBytes


class EngineServer:
    """Serves Engine.IO on a uvicorn server. Needs a running loop from the first request on, none before.

    Start: give `polling`, an ASGI app, the requests that `handles` says are its own, and run uvicorn with
    `http=engine.http_protocol`. `api` has a runnable example.
    Stop: let the accepter refuse, `await drain(...)`, stop uvicorn, then `stop()`.
    """

    def __init__(
        self,
        config: Config,
        accepter: Accepter,
        node_id: str,
        clock: Callable[[], float] = time.monotonic,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self.counters = EngineCounters()
        self.connections = Connections(
            config, accepter, node_id, clock=clock, random_bytes=random_bytes, counters=self.counters
        )
        self.polling = PollingEndpoint(self.connections)

    @property
    def http_protocol(self) -> Callable[..., EngineHttpProtocol]:
        """For uvicorn's `http=`: its HTTP protocol, which hands WebSockets under SOCKETIO_PATH to this engine."""
        return functools.partial(EngineHttpProtocol, self.connections)

    @property
    def wheel(self) -> TimerWheel:
        """The one timer of all connections, for others who need deadlines."""
        return self.connections.wheel

    def handles(self, path: str) -> bool:
        """Whether requests to this path, without percent-encoding, are the engine's: SOCKETIO_PATH, or any below it."""
        return self.connections.handles(path)

    async def drain(self, over_ms: int, reason: str = reasons.NODE_DRAINED) -> None:
        """Close all connections in waves, and abort those that are left after `over_ms`."""
        await self.connections.drain(over_ms, reason)

    def stop(self) -> None:
        """Abort what is left and forget all deadlines."""
        self.connections.abort_all()
        self.wheel.stop()
