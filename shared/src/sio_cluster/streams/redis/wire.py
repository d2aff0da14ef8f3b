"""One TCP connection that speaks RESP2: bytes out, answers in the order of the questions."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import hiredis

from sio_cluster.protocol.errors import BusError, BusUnavailable
from sio_cluster.streams.redis.replies import error_of

Reply: TypeAlias = Any
"""As hiredis parses RESP2: bytes, int, None, a BusError, or a list of these."""

_INCOMPLETE = object()
_LATE_S = 0.5


class _Question:
    """Commands that were sent together, and the answers that have come so far."""

    __slots__ = ("answers", "count", "deadline", "future")

    def __init__(self, count: int, deadline: float, future: asyncio.Future[list[Reply]]) -> None:
        self.answers: list[Reply] = []
        self.count = count
        self.deadline = deadline
        self.future = future


class Wire(asyncio.Protocol):
    """One TCP connection, from when it is made until it is lost. What is unanswered then ends with BusUnavailable.
    If some of its answers had come, the first error among them is the cause of that BusUnavailable.

    Questions of many callers may be under way at the same time. If a caller is cancelled, its answers are read and
    dropped, and the other callers notice nothing. One timer watches the oldest question, so that a question costs none.
    When an answer does not come in time, the connection is closed, and then `on_silence` is called.
    """

    def __init__(
        self, on_silence: Callable[[], None] | None = None, error_of: Callable[[str], BusError] = error_of
    ) -> None:
        """`error_of` makes the BusError of what Redis says when it refuses a command."""
        self._on_silence = on_silence
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=error_of, notEnoughData=_INCOMPLETE)
        self._questions: deque[_Question] = deque()
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._lost: str | None = None
        self.given_up = False  # whether we closed it: then what we sent may still reach Redis

    @property
    def lost(self) -> str | None:
        """Why the connection is gone, None while it stands."""
        return self._lost

    def ask(self, packed: bytes, count: int, timeout_s: float) -> asyncio.Future[list[Reply]]:
        """Sends packed commands; the future brings their `count` answers. Errors of Redis stand among the answers."""
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(BusUnavailable(self._lost or "not connected"))
            return future
        deadline = self._loop.time() + timeout_s
        self._questions.append(_Question(count, deadline, future))
        self._transport.write(packed)
        if self._watch is None:
            self._watch = self._loop.call_at(deadline, self._look_at_the_clock)
        return future

    def drop(self, why: str, *, by_peer: bool = False) -> None:
        """Closes the connection at once. Idempotent."""
        if self._lost is not None:
            return
        self._lost = why
        self.given_up = not by_peer
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        while self._questions:
            question = self._questions.popleft()
            if not question.future.done():
                question.future.set_exception(_lost(why, first_error(question.answers)))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        questions, gets = self._questions, self._reader.gets
        try:
            while (reply := gets()) is not _INCOMPLETE:
                question = questions[0]
                question.answers.append(reply)
                if len(question.answers) == question.count:
                    questions.popleft()
                    if not question.future.done():
                        question.future.set_result(question.answers)
        except (hiredis.ProtocolError, IndexError):  # IndexError: an answer that nobody asked for
            self.drop("Redis sent what is not RESP2")

    def connection_lost(self, error: Exception | None) -> None:
        self.drop(
            f"the connection to Redis was lost: {error}" if error else "Redis closed the connection", by_peer=True
        )

    def _look_at_the_clock(self) -> None:
        self._watch = None
        if not self._questions:
            return
        oldest, now = self._questions[0], self._loop.time()
        if oldest.deadline + _LATE_S < now:  # this process stood still: the answer may have come, and not been read yet
            oldest.deadline = now + _LATE_S
        if oldest.deadline > now:
            self._watch = self._loop.call_at(oldest.deadline, self._look_at_the_clock)
            return
        self.drop("no answer from Redis in time")
        if self._on_silence is not None:
            self._on_silence()


def _lost(why: str, said: BusError | None) -> BusUnavailable:
    """`said`: the last that Redis said before it closed the connection, such as that it has too many clients."""
    lost = BusUnavailable(why if said is None else f"{why}: {said}")
    lost.__cause__ = said
    return lost


def first_error(replies: list[Reply]) -> BusError | None:
    """The first error among the answers."""
    return next((reply for reply in replies if isinstance(reply, BusError)), None)
