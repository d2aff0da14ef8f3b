"""A client of the Compose tests: the official Python client, and what happened to it."""

import asyncio
from collections.abc import Callable

import socketio

from sio_cluster.protocol.ids import name_of, node_of

PATIENCE_S = 40.0


class Client:
    """Stays connected until `close`; "upgrade" begins with polling. Every wait is bounded by PATIENCE_S."""

    def __init__(self, url: str, transport: str) -> None:
        self.transport = transport
        self.connects = 0
        self.disconnects = 0
        self.shouted: list[str] = []
        self._url = url
        self._changed = asyncio.Event()
        self._sio = socketio.AsyncClient(reconnection_delay=0.2, reconnection_delay_max=1)
        self._sio.on("connect", self._on_connect)
        self._sio.on("disconnect", self._on_disconnect)
        self._sio.on("shouted", self._on_shouted)

    @property
    def connected(self) -> bool:
        return self._sio.connected and "/" in self._sio.namespaces

    @property
    def io_node(self) -> str:
        """The name of the io-node that holds this client."""
        node = node_of(self._sio.get_sid() or "")
        return name_of(node) if node else ""

    async def connect(self) -> None:
        transports = ["polling", "websocket"] if self.transport == "upgrade" else [self.transport]
        await self._sio.connect(self._url, transports=transports, wait_timeout=PATIENCE_S)

    async def close(self) -> None:
        await self._sio.shutdown()

    async def echo(self, number: int) -> str:
        """Asks, and returns the app-node that answered. The answer must carry this number."""
        answer = await self._sio.call("echo", number, timeout=PATIENCE_S)
        assert answer[0] == number
        return str(answer[1])

    async def shout(self, text: str) -> None:
        await self._sio.emit("shout", text)

    async def until(self, condition: Callable[["Client"], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{self!r} did not get there within {PATIENCE_S:g} s") from None

    def __repr__(self) -> str:
        state = f"on {self.io_node}" if self.connected else "away"
        return f"<{self.transport} client {state}, {self.connects} connects, {self.disconnects} disconnects>"

    def _on_connect(self) -> None:
        self.connects += 1
        self._changed.set()

    def _on_disconnect(self, reason: str) -> None:
        self.disconnects += 1
        self._changed.set()

    def _on_shouted(self, text: str) -> None:
        self.shouted.append(text)
        self._changed.set()
