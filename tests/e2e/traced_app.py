"""An application that makes spans of its own, as any code does that uses OpenTelemetry.

app-node tests/e2e/traced_app.py:sio
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import structlog
from opentelemetry import trace

import app_node

sio = app_node.get_client()
tracer = trace.get_tracer("shop")
log = structlog.get_logger()


@sio.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    await sio.enter_room(sid, "everybody")


@sio.event
async def shout(sid: str, value: Any) -> None:
    with tracer.start_as_current_span("look up"):
        log.info("shouting")
    await sio.emit("shouted", value, room="everybody")


@sio.event
async def work(sid: str) -> None:
    """Goes on until the test has made a file."""
    log.info("working")
    while not Path(os.environ["GO_ON"]).exists():  # noqa: ASYNC240 - one look at a file is quick
        await asyncio.sleep(0.02)
