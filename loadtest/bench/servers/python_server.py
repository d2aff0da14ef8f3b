"""The benchmark's application on plain python-socketio.

`python -m loadtest.bench.servers.python_server PORT [REDIS_URL]`
"""

import sys

import socketio
import uvicorn

from loadtest.bench.servers import handlers


def main() -> None:
    port, redis_url = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    sio = socketio.AsyncServer(
        async_mode="asgi",
        client_manager=socketio.AsyncRedisManager(redis_url) if redis_url else None,
        ping_interval=300,
    )
    handlers.register(sio)
    uvicorn.run(
        socketio.ASGIApp(sio),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        backlog=4096,
    )


if __name__ == "__main__":
    main()
