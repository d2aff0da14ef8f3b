"""What the answer to a WebSocket handshake agrees to (RFC 6455 section 4.2.2)."""

import pytest

from ..serving import Raw, serve, upgrade_request

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        ("my-protocol-v1", "my-protocol-v1"),
        ("v1.json , v2", "v1.json"),
        ("", None),
        (" ,v2", None),
        ("not a token", None),
    ],
)
async def test_the_first_subprotocol_is_agreed_on(offered: str, agreed: str | None) -> None:
    """A browser that offered one closes the WebSocket if the answer names none."""
    async with serve() as node:
        raw = await Raw.connect(node)
        await raw.send(upgrade_request(headers=f"Sec-WebSocket-Protocol: {offered}\r\n"))
        head = await raw.head()
        raw.close()
    lines = [line for line in head.splitlines() if line.lower().startswith("sec-websocket-protocol")]
    assert lines == ([] if agreed is None else [f"Sec-WebSocket-Protocol: {agreed}"])


async def test_permessage_deflate_is_not_agreed_on() -> None:
    async with serve() as node:
        raw = await Raw.connect(node)
        await raw.send(upgrade_request(headers="Sec-WebSocket-Extensions: permessage-deflate\r\n"))
        head = await raw.head()
        assert "extensions" not in head.lower()
        assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        raw.close()
