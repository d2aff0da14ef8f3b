"""Requests with an idempotency key: each is carried out once, however often it is sent.

1. It is claimed in Redis. A second process that gets it meanwhile answers 409.
2. It is carried out. However long Redis is away, it goes on, also when its caller has gone: a second request of the key
   to this process waits for the same result.
3. The outcome is written beside the claim. From then on every process answers with it. Where nothing was done, the
   claim is forgotten instead.

Should this process die between 1 and 3, nobody knows whether it was carried out. Then the key is answered 409 until the
claim is forgotten (`KEPT_MS`): at most once is worth more than at least once to whoever sends a key.
"""

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_never

import msgspec

from app_node.api.desk import Answer
from app_node.api.problems import Problem
from sio_cluster.node.retry import Retry
from sio_cluster.streams.redis.outcomes import KEPT_MS, Claim, Outcomes

MAX_UNDER_WAY = 1_000
"""How many requests with a key may be under way, with or without a caller who waits. Further ones get 503."""

_TAKEN = (
    "another process has begun this request and has not said what became of it: ask again. If it has died, the key is "
    f"free {KEPT_MS // 60_000} minutes after it began"
)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    asked: str
    size: int
    work: "asyncio.Task[Answer]"


class Once:
    """The requests with a key that are under way in this process."""

    def __init__(self, outcomes: Outcomes, *, owner: str, wait_s: float, max_bytes: int, retry: Retry) -> None:
        """`owner`: a word that no other process has. `wait_s`: how long a caller waits. `max_bytes`: of all requests
        under way together."""
        self._outcomes = outcomes
        self._owner = owner
        self._numbers = itertools.count(1)
        self._wait_s = wait_s
        self._max_bytes = max_bytes
        self._retry = retry
        self._under_way: dict[str, _UnderWay] = {}

    async def answer(
        self,
        caller: str,
        key: str,
        asked: str,
        size: int,
        carry_out: Callable[[], Awaitable[Answer]],
        longer_s: float = 0,
    ) -> Answer:
        """What became of the request of this key. `caller`: each has keys of its own. `asked`: the request's digest.

        `carry_out` raises Problem where it does nothing: this raises it too, and the key is free again. Raises Problem:
        `unavailable` where it is not known in time, `longer_s` later than usual. It goes on meanwhile.
        """
        digest = hashlib.sha256(f"{caller} {key}".encode()).hexdigest()
        found = self._under_way.get(digest)
        if found is None:
            self._require_room(size)
            work = asyncio.ensure_future(self._work(digest, asked, carry_out))
            found = self._under_way[digest] = _UnderWay(asked, size, work)
            work.add_done_callback(lambda _: self._ended(digest))
        elif found.asked != asked:
            raise _reused()
        await asyncio.wait([found.work], timeout=self._wait_s + longer_s)
        if not found.work.done():
            raise Problem("unavailable", f"Redis has not answered within {self._wait_s:g} s: ask again with this key")
        if found.work.cancelled():
            raise Problem("unavailable", "this process is stopping")
        return found.work.result()

    async def stop(self, within_s: float) -> None:
        """Waits for what is under way. What is not done then is given up: nobody will know what became of it."""
        tasks = [found.work for found in self._under_way.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=max(0, within_s))
            for task in late:
                task.cancel()

    async def _work(self, digest: str, asked: str, carry_out: Callable[[], Awaitable[Answer]]) -> Answer:
        owner = f"{self._owner}:{next(self._numbers)}"
        claimed = await self._retry.call(lambda: self._outcomes.claim(digest, owner, asked))
        match claimed.claim:
            case Claim.DONE:
                return msgspec.msgpack.decode(claimed.outcome, type=Answer)
            case Claim.TAKEN:
                raise Problem("in_progress", _TAKEN, "idempotency_key")
            case Claim.OTHER:
                raise _reused()
            case Claim.MINE:
                try:
                    answer = await carry_out()
                except Problem:
                    await self._retry.call(lambda: self._outcomes.release(digest, owner))
                    raise
                outcome = msgspec.msgpack.encode(answer)
                await self._retry.call(lambda: self._outcomes.settle(digest, owner, asked, outcome))
                return answer
            case _:
                assert_never(claimed.claim)

    def _require_room(self, size: int) -> None:
        under_way = self._under_way.values()
        if len(under_way) >= MAX_UNDER_WAY or (
            under_way and size + sum(found.size for found in under_way) > self._max_bytes
        ):
            raise Problem("unavailable", "too many requests wait for Redis: nothing was done")

    def _ended(self, digest: str) -> None:
        work = self._under_way.pop(digest).work
        if not work.cancelled():
            work.exception()  # there may be no caller any more


def _reused() -> Problem:
    return Problem("key_reused", "this key was used for another request", "idempotency_key")
