"""What io-nodes serve beside Socket.IO where their event loops are watched: an ASGI application.

`/loop` tells what was since the last such request, as JSON.
"""

import json
from typing import Any

from loadtest.bench.servers.loop_watch import LoopWatch

_watch: LoopWatch | None = None


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application. An io-node runs it in its own event loop."""
    global _watch
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await send({"type": "lifespan.shutdown.complete"})
                return
            _watch = LoopWatch()
            await send({"type": "lifespan.startup.complete"})
    assert _watch is not None
    found = _watch.read()
    _watch.begin()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(found).encode()})
