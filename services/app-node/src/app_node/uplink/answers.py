"""This app-node's own inbox: clients' answers, and canaries."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Protocol, assert_never

import structlog

from app_node.clients.callbacks import AckBook
from app_node.counters import Counters
from app_node.payloads import JsonModule, decode
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.codec import decode_app_inbox
from sio_cluster.protocol.errors import BusRefused, BusUnavailable, MalformedBatch, MalformedPacket
from sio_cluster.protocol.messages import AckReceived, Canary

log = structlog.get_logger()

BLOCK_MS = 1_000  # also how often at least the inbox is trimmed
TRIM_ENTRIES = 500


class Reading(Protocol):
    async def read(self, block_ms: int) -> list[bytes]: ...

    async def trim(self) -> None: ...


class Inbox:
    """Reads for ever and hands out what comes. Answers call their callbacks in the order in which they came."""

    def __init__(
        self,
        reader: Reading,
        acks: AckBook,
        on_canary: Callable[[Canary], None],
        counters: Counters,
        json_module: JsonModule | None = None,
    ) -> None:
        self._reader = reader
        self._acks = acks
        self._on_canary = on_canary
        self._counters = counters
        self._json_module = json_module
        self._callbacks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Waits out Redis' absence."""
        backoff = Backoff()
        untrimmed = 0
        while True:
            try:
                entries = await self._reader.read(BLOCK_MS)
                untrimmed += len(entries)
                for entry in entries:
                    self.take(entry)
                if untrimmed >= TRIM_ENTRIES or (untrimmed and not entries):
                    await self._reader.trim()
                    untrimmed = 0
            except (BusUnavailable, BusRefused) as error:
                wait = next(backoff)
                log.warning("inbox_retry", error=str(error), wait_ms=round(wait * 1000))
                await asyncio.sleep(wait)
            else:
                backoff.reset()

    def take(self, entry: bytes) -> None:
        """One entry of the inbox."""
        try:
            batch = decode_app_inbox(entry)
        except MalformedBatch as error:
            self._counters.add("inbox_entries_malformed")
            log.error("inbox_entry_malformed", why=str(error))
            return
        for item in batch.items:
            match item:
                case AckReceived():
                    self._answer(item)
                case Canary():
                    self._on_canary(item)
                case _:
                    assert_never(item)

    def _answer(self, answer: AckReceived) -> None:
        callback = self._acks.answer(answer.sid, answer.ack_id)
        if callback is None:
            return
        try:
            args = decode(answer.data, answer.attachments, self._json_module)
        except MalformedPacket as error:
            self._counters.add("acks_refused.malformed")
            log.warning("ack_malformed", sid=answer.sid, error=str(error))
            return
        self._counters.add("acks_received")
        task = asyncio.create_task(_call(callback, args, answer.sid))
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)


async def _call(callback: Callable[..., Any], args: list[Any], sid: str) -> None:
    try:
        result = callback(*args)
        if inspect.isawaitable(result):
            await result
    except Exception:  # the application's own error, which may be any
        log.exception("callback_failed", sid=sid)
