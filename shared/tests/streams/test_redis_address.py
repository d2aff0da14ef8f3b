"""REDIS_URL and its parts: what cannot be meant is refused before anything is connected."""

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import start_valkey

ALL_OPTIONS = (
    "rediss://h?db=3&username=u&password=p&ssl_ca_certs=a&ssl_certfile=b&ssl_keyfile=c&ssl_check_hostname=no"
    "&ssl_cert_reqs=none"
)


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


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://host/", "redis://host/3", "redis://h?db=3", "unix:///a@b/c", ALL_OPTIONS]
)
def test_what_is_well_formed_is_taken(url: str) -> None:
    RedisBus(Config(REDIS_URL=url))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "redis://host/0?socket_timeout=3",
            "'socket_timeout' is unknown. The options for redis:// are db, username, pass",
        ),
        ("rediss://host?ssl_ca_cert=/a.pem", "'ssl_ca_cert' is unknown. .* ssl_ca_certs, ssl_certfile"),
        ("redis://host?ssl_ca_certs=/a.pem", "'ssl_ca_certs' works with rediss:// only"),
        ("rediss://host?ssl_ca_certs=", "'ssl_ca_certs' has no value"),
        ("rediss://host?ssl_ca_certs", "'ssl_ca_certs' has no value"),
        ("redis://host?db=0&DB=1", "'DB' is unknown"),
        ("redis://?host=a", "'host' is unknown"),
        ("unix:///run/redis.sock?database=1", "'database' is unknown. The options for unix:// are db"),
    ],
)
def test_an_option_without_effect_is_refused(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"^REDIS_URL: the option {why}"):
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
