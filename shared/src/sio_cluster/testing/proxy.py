"""A TCP proxy on loopback that can let packets vanish: a network that is half-open, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Between clients and one server. `vanish` swallows what comes over the connections that stand."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaf: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._new_ones_too = False
        self.port = 0
        self.accepted = 0

    def vanish(self, *, new_ones_too: bool = False) -> None:
        """Both sides keep their connections and hear nothing more."""
        self._deaf |= self._writers
        self._new_ones_too = new_ones_too

    def lead_to(self, port: int) -> None:
        """New connections go to this port of the same host, as when a name gets another address."""
        self._target = (self._target[0], port)

    def heal(self) -> None:
        """For new connections. What was swallowed is gone, as are the connections that stood."""
        self._new_ones_too = False

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._new_ones_too:
            self._deaf.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        if self._new_ones_too:
            self._deaf.add(far_writer)
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                if sink not in self._deaf:
                    sink.write(data)
                    await sink.drain()
            if sink not in self._deaf:
                sink.close()
        except OSError:
            sink.transport.abort()


@asynccontextmanager
async def proxy_to(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port, while the block runs."""
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
