"""How a stack sees that one of its parts serves: a small request over loopback, bounded in time."""

import asyncio

TIMEOUT_S = 2.0


async def answers_http(port: int, path: str = "/readyz", host: str = "127.0.0.1") -> bool:
    """Whether a GET of that path is answered with 200."""
    reply = await _exchange(host, port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return reply.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))


async def answers_ping(port: int) -> bool:
    """Whether a Redis there answers PING. While it loads its data it does not."""
    return (await _exchange("127.0.0.1", port, b"PING\r\n")).startswith(b"+PONG")


async def _exchange(host: str, port: int, request: bytes) -> bytes:
    """The first bytes of the answer. Empty where none comes in time."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                return await reader.read(64)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
