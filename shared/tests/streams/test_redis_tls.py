"""Redis over TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import AccessRefused
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import Valkey

from .real_server import IO1

pytestmark = pytest.mark.slow


CERTIFICATES = Path(__file__).parent / "tls"


class TestTls:
    """The server has none: a relay stands before it, with the self-signed certificate of tls/, made for this test."""

    @pytest.fixture
    async def address(self, server: Valkey) -> AsyncIterator[str]:
        async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1 << 16):
                writer.write(data)
            writer.close()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATES / "cert.pem", CERTIFICATES / "key.pem")
        relays = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
        yield f"rediss://127.0.0.1:{relays.sockets[0].getsockname()[1]}/0"
        relays.close()

    @pytest.mark.parametrize(
        "options", [f"ssl_ca_certs={CERTIFICATES / 'cert.pem'}", "ssl_cert_reqs=none", "ssl_cert_reqs=CERT_NONE"]
    )
    async def test_a_certificate_that_we_trust(self, address: str, options: str) -> None:
        bus = RedisBus(Config(REDIS_URL=f"{address}?{options}"))
        await bus.start()
        assert await bus.inbox_reader(IO1).read(1) == []
        assert await asyncio.to_thread(bus.lookup.record, f"{IO1}.{1:016d}") is None
        await bus.stop()

    async def test_a_certificate_that_we_do_not_trust(self, address: str) -> None:
        with pytest.raises(AccessRefused, match="no certificate to trust"):
            await RedisBus(Config(REDIS_URL=address)).start()
        with pytest.raises(AccessRefused, match="no certificate to trust"):
            await asyncio.to_thread(RedisBus(Config(REDIS_URL=address)).lookup.record, f"{IO1}.{1:016d}")

    @pytest.mark.parametrize("options", ["ssl_ca_certs=/no/such/file", f"ssl_certfile={CERTIFICATES / 'key.pem'}"])
    async def test_files_that_cannot_be_loaded(self, address: str, options: str) -> None:
        with pytest.raises(AccessRefused, match=f"cannot load the certificates in {options.partition('=')[2]}"):
            await RedisBus(Config(REDIS_URL=f"{address}?{options}")).start()
