"""What a bridge hears on channels, and that it is told where it may have missed something."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.streams.redis.bridged import Listener
from sio_cluster.testing.valkey import Valkey

pytestmark = pytest.mark.slow


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    redis = Redis.from_url(valkey.url)
    yield redis
    await redis.aclose()


async def test_a_connection_that_is_lost_behind_a_message_is_told(valkey: Valkey, redis: Redis) -> None:
    """redis-py would connect and subscribe again by itself, and what was said meanwhile would be missed in silence."""
    listener = Listener(valkey.url, ["lost"], [])
    await listener.open()
    await redis.publish("lost", "one")
    await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    async with asyncio.timeout(10):
        heard = await listener.next(5, 10)
        assert heard == [("lost", b"one")]
        for _ in range(2):
            with pytest.raises(BusUnavailable, match="the subscription was lost"):
                await listener.next(1, 10)
    await listener.close()
