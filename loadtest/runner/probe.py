"""Whether a cluster answers at an address, and whether it takes part in load tests.

It speaks Engine.IO and Socket.IO by polling, as a client would: handshake, CONNECT to /loadtest, polite close.
"""

import asyncio
from urllib.parse import urlsplit

import httpx

from loadtest.runner.options import CannotRun

TIMEOUT_S = 5.0
NAMESPACE = "/loadtest"
SEPARATOR = "\x1e"
_PATH = "/socket.io/?EIO=4&transport=polling"


async def answers(url: str) -> bool:
    """Whether anything listens there. It may be no cluster: `check` tells."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
            writer.close()
    except (OSError, TimeoutError):
        return False
    return True


async def check(url: str) -> None:
    """Raises CannotRun where this is no Socket.IO server, no app-node serves it, or it has no /loadtest namespace."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=None) as http:
            async with asyncio.timeout(TIMEOUT_S):
                opened = await http.get(url + _PATH)
            await _join(http, url, opened)
    except TimeoutError:
        raise CannotRun(f"{url} listens, but does not answer HTTP within {TIMEOUT_S:g} s") from None
    except httpx.HTTPError as error:
        raise CannotRun(f"{url} does not answer HTTP: {str(error) or type(error).__name__}") from None


async def _join(http: httpx.AsyncClient, url: str, opened: httpx.Response) -> None:
    if opened.status_code != 200 or not opened.text.startswith('0{"sid":"'):
        raise CannotRun(
            f"{url} is no Socket.IO server that takes polling (HTTP {opened.status_code} to a handshake): "
            "stop what listens there, or choose another with URL="
        )
    session = url + _PATH + "&sid=" + opened.text.split('"', 4)[3]
    try:
        async with asyncio.timeout(2 * TIMEOUT_S):
            answer = await _connect(http, session)
    except TimeoutError:
        raise CannotRun(
            f"{url} answers, but its application does not take a CONNECT within {2 * TIMEOUT_S:g} s: is an app-node up?"
        ) from None
    if answer.startswith("44"):
        raise CannotRun(
            f"{url} has no {NAMESPACE} namespace: start it with `make run` or with LOADTEST=1 and the chat example "
            "(loadtest/README.md tells how to test an application of your own)"
        )
    await http.post(session, content=f"41{NAMESPACE},{SEPARATOR}1")


async def _connect(http: httpx.AsyncClient, session: str) -> str:
    """The packet that answers the CONNECT, whatever else comes with it."""
    await http.post(session, content=f"40{NAMESPACE},")
    while True:
        packets = (await http.get(session)).text.split(SEPARATOR)
        if "2" in packets:
            await http.post(session, content="3")
        for packet in packets:
            if packet.startswith(("40", "44")):
                return packet
