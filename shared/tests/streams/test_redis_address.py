"""REDIS_URL and its parts: what cannot be meant is refused before anything is connected."""

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import start_valkey


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret/more@host:6379/0",
        "redis://:secret#more@host:6379/0",
        "redis://:secret?more@host:6379/0",
        "redis://:123/more@host:6379/0",  # by the letter, this is port 123 on localhost
        "redis://:123#more@host:6379/0",
        "redis://:123?more@host:6379/0",
        "redis://[secret]more@host",
    ],
)
def test_a_password_that_is_not_encoded_is_refused_and_does_not_show(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^REDIS_URL: cannot be read.*%23 for #") as caught:
        RedisBus(Config(REDIS_URL=url))
    assert not {"secret", "more", "123"}.intersection(str(caught.value).replace(":", " ").split())


@pytest.mark.parametrize("path", ["/zero", "/0/1", "/-1"])
def test_a_database_is_a_number(path: str) -> None:
    with pytest.raises(ConfigError, match="REDIS_URL: the database must be a number"):
        RedisBus(Config(REDIS_URL=f"redis://host:6379{path}"))


@pytest.mark.parametrize("url", ["redis://host", "redis://host/", "redis://host/3", "redis://h?db=3", "unix:///a@b/c"])
def test_what_is_well_formed_is_taken(url: str) -> None:
    RedisBus(Config(REDIS_URL=url))


async def test_a_user_without_a_password_logs_in_too() -> None:
    with start_valkey() as server:
        owner = RedisBus(Config(REDIS_URL=server.url))
        await owner.start()
        await owner.connections.run(("ACL", "SETUSER", "io", "on", "nopass", "~*", "+@all"))
        bus = RedisBus(Config(REDIS_URL=f"redis://io@127.0.0.1:{server.port}"))
        await bus.start()
        assert await bus.connections.run(("ACL", "WHOAMI")) == [b"io"]
        await bus.stop()
        await owner.stop()
