"""Requests that are carried out once, in a real Valkey."""

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.outcomes import KEPT_MS, Claim, Claimed, Outcomes


async def test_one_owner_carries_it_out_and_all_get_the_outcome(redis_config: Config) -> None:
    bus = RedisBus(redis_config)
    try:
        outcomes = Outcomes(bus.connections, bus.keys)
        assert await outcomes.claim("key", "a", "this") == Claimed(Claim.MINE, b"")
        assert await outcomes.claim("key", "a", "this") == Claimed(Claim.MINE, b"")  # its answer was lost
        assert await outcomes.claim("key", "b", "this") == Claimed(Claim.TAKEN, b"")
        assert await outcomes.claim("key", "b", "that") == Claimed(Claim.OTHER, b"")
        await outcomes.settle("key", "b", "this", b"not b's to say")
        assert (await outcomes.claim("key", "a", "this")).claim is Claim.MINE
        await outcomes.settle("key", "a", "this", b"fine")
        await outcomes.settle("key", "a", "this", b"fine")
        assert await outcomes.claim("key", "b", "this") == Claimed(Claim.DONE, b"fine")
        assert await outcomes.claim("key", "a", "this") == Claimed(Claim.DONE, b"fine")
        assert await outcomes.claim("key", "a", "that") == Claimed(Claim.OTHER, b"")
        [left_ms] = await bus.connections.run(("PTTL", bus.keys.outcome("key")))
        assert KEPT_MS - 60_000 < left_ms <= KEPT_MS
        await outcomes.release("key", "a")  # it is late: there is an outcome
        assert (await outcomes.claim("key", "b", "this")).claim is Claim.DONE
        assert (await outcomes.claim("free", "a", "this")).claim is Claim.MINE
        await outcomes.release("free", "b")  # which does not have it
        assert (await outcomes.claim("free", "b", "this")).claim is Claim.TAKEN
        for _ in range(2):
            await outcomes.release("free", "a")
        assert (await outcomes.claim("free", "b", "that")).claim is Claim.MINE
        await outcomes.settle("forgotten", "a", "this", b"fine")
        assert await outcomes.claim("forgotten", "b", "this") == Claimed(Claim.DONE, b"fine")  # its claim had run out
    finally:
        await bus.stop()
