"""A web application beside the node."""

from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, WebSocket


def their_app(events: list[str]) -> FastAPI:
    async def lifespan(app: FastAPI) -> Any:
        events.append("startup")
        yield
        events.append("shutdown")

    app = FastAPI(lifespan=asynccontextmanager(lifespan))

    @app.get("/hello")
    async def hello() -> str:
        return "theirs"

    @app.websocket("/socket")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    return app
