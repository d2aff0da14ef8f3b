"""A Redis that removes keys when it is full cannot carry a cluster: a node says so when it starts."""

import pytest
from structlog.testing import capture_logs

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import start_valkey

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({"maxmemory": "100mb", "maxmemory_policy": "allkeys-lru"}, ["allkeys-lru"]),
        ({"maxmemory": "100mb", "maxmemory_policy": "volatile-ttl"}, ["volatile-ttl"]),
        ({"maxmemory": "100mb", "maxmemory_policy": "noeviction"}, []),
        ({"maxmemory_policy": "allkeys-lru"}, []),  # without a limit it never evicts
    ],
)
async def test_a_redis_that_may_evict(options: dict[str, str], warned: list[str]) -> None:
    with start_valkey(port=0, **options) as server, capture_logs() as logs:
        bus = RedisBus(Config(REDIS_URL=server.url))
        await bus.start()
        memory = await bus.store.memory()
        await bus.stop()
    assert memory is not None
    assert memory.policy == options["maxmemory_policy"]
    assert memory.limit_bytes == (100 << 20 if "maxmemory" in options else 0)
    assert [line["policy"] for line in logs if line["event"] == "redis_may_evict"] == warned


async def test_a_user_who_may_not_ask_gets_no_warning_and_goes_on() -> None:
    with start_valkey(maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        owner = RedisBus(Config(REDIS_URL=server.url))
        await owner.start()
        await owner.connections.run(("ACL", "SETUSER", "io", "on", ">pw", "~*", "+@all", "-info"))
        with capture_logs() as logs:
            bus = RedisBus(Config(REDIS_URL=f"redis://io:pw@127.0.0.1:{server.port}"))
            await bus.start()
            assert await bus.store.memory() is None
        assert not [line for line in logs if line["log_level"] == "warning"]
        await bus.stop()
        await owner.stop()
