"""A TCP proxy that can be made as bad as a network gets. It stands before Redis, or before the front door."""

import asyncio
import random
from contextlib import suppress

CHUNK = 65_536


class Proxy:
    """`async with Proxy(port) as proxy`: passes on to 127.0.0.1:`port` what comes to `proxy.port`.

    `delay_s` and `jitter_s` hold each piece back, in order. `blackhole`: what comes is read and thrown away in both
    directions, connections stay open, new ones too. `reset` ends each connection by a RST.
    """

    def __init__(self, port: int, *, seed: int = 0) -> None:
        self._target = port
        self._random = random.Random(seed)
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.abandoned: list[asyncio.StreamWriter] = []  # ends towards the server
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.blackhole = False
        self.opened = 0
        self.port = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        for writer in self.abandoned:
            writer.transport.abort()
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._pairs)

    def reset(self) -> None:
        """Ends the open connections at once. New ones are passed on."""
        for writer in list(self._writers):
            writer.transport.abort()

    def abandon(self) -> None:
        """Ends the clients' connections and leaves the server's open and silent, as after a change of network."""
        for near, far in self._pairs:
            self.abandoned.append(far)
            near.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._writers.add(writer)
        try:
            if self.blackhole:  # the handshake of TCP is the kernel's; behind it is nobody
                await self._swallow(reader)
                return
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(there_writer)
        self._pairs.add((writer, there_writer))
        ways = [
            asyncio.create_task(self._pass_on(reader, there_writer)),
            asyncio.create_task(self._pass_on(there_reader, writer)),
        ]
        self._pipes.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._pipes.difference_update(ways)
        self._pairs.discard((writer, there_writer))
        for end in (writer, there_writer):
            self._writers.discard(end)
            if end not in self.abandoned:
                end.transport.abort()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while await reader.read(CHUNK):
                pass

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Delays pieces without changing their order."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1000)
        delivering = asyncio.create_task(self._deliver(queue, writer))
        loop = asyncio.get_running_loop()
        try:
            with suppress(OSError):
                while data := await reader.read(CHUNK):
                    if not self.blackhole:
                        due = loop.time() + self.delay_s + self._random.uniform(0, self.jitter_s)
                        await queue.put((due, data))
                await queue.put((0.0, b""))
                await delivering
        finally:
            delivering.cancel()

    async def _deliver(self, queue: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await queue.get()
            if not data:
                return
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if self.blackhole:
                continue
            writer.write(data)
            await writer.drain()
