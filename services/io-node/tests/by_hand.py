"""A WebSocket client that speaks the protocols by hand."""

import asyncio
import json
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

from .tiny_app import World


class Raw:
    """A WebSocket client that speaks the protocols by hand."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self.socket.send(message)

    async def receive(self) -> str | bytes:
        """The next message; PINGs are answered."""
        async with asyncio.timeout(5):
            while (message := await self.socket.recv()) == "2":
                await self.socket.send("3")
            return message

    async def connect(self, namespace: str = "/") -> str:
        """Join; the sid. The tiny application's greeting is consumed."""
        prefix = "" if namespace == "/" else f"{namespace},"
        await self.send(f"40{prefix}")
        answer = await self.receive()
        assert isinstance(answer, str)
        assert answer.startswith(f"40{prefix}")
        assert await self.receive() == f'42{prefix}["auth",{{}}]'
        return str(json.loads(answer[2 + len(prefix) :])["sid"])

    async def closed(self) -> None:
        async with asyncio.timeout(5):
            await self.socket.wait_closed()


class open_raw:
    def __init__(self, world: World) -> None:
        self._connecting = websockets.connect(f"{world.ws_url}/socket.io/?EIO=4&transport=websocket")

    async def __aenter__(self) -> Raw:
        raw = Raw(await self._connecting.__aenter__())
        assert str(await raw.receive()).startswith("0{")
        return raw

    async def __aexit__(self, *error: Any) -> None:
        await self._connecting.__aexit__(*error)
