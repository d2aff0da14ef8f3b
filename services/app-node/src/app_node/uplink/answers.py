"""What comes into this app-node's own inbox: clients' answers to what it asked them, who was asked, which answers will
not come, what other app-nodes say, and its canaries."""

import asyncio
from collections.abc import Callable
from typing import Any, assert_never

import structlog

from app_node.clients.callbacks import Callbacks
from app_node.clients.questions import Questions
from app_node.counters import Counters
from app_node.handlers.calls import run
from app_node.handlers.endings import raise_unless_own, running_task
from app_node.handlers.turns import HandlerTurns
from app_node.payloads import JsonModule, decode
from app_node.uplink.peers import Peers
from sio_cluster.node.monitoring.log import log_raised
from sio_cluster.node.turn import Turn
from sio_cluster.protocol.codec import decode_app_inbox
from sio_cluster.protocol.errors import MalformedBatch, MalformedPacket
from sio_cluster.protocol.messages import AckExpected, AckMissed, AckReceived, Canary, ServerAnswer, ServerEvent
from sio_cluster.streams.api.inboxes import InboxEntry

log = structlog.get_logger()


class Answers:
    """Calls the callback of each answer. Callbacks begin in the order in which the answers came."""

    def __init__(
        self,
        callbacks: Callbacks,
        questions: Questions,
        peers: Peers,
        on_canary: Callable[[Canary], None],
        counters: Counters,
        turns: HandlerTurns,
        json_module: JsonModule | None = None,
    ) -> None:
        self._callbacks = callbacks
        self._questions = questions
        self._peers = peers
        self._on_canary = on_canary
        self._counters = counters
        self._turns = turns
        self._json_module = json_module
        self._running: set[asyncio.Task[None]] = set()

    async def take(self, entries: list[InboxEntry]) -> None:
        """Takes entries of the inbox, for `InboxLoop`. One that cannot be decoded is logged, counted and left out.

        20,000 clients may have answered at once: that takes several turns of the event loop.
        """
        turn = Turn()
        for entry in entries:
            try:
                batch = decode_app_inbox(entry.entry)
            except MalformedBatch as error:
                self._counters.inbox_entries_malformed += 1
                log.error("inbox_entry_malformed", why=str(error))
                continue
            for item in batch.items:
                match item:
                    case AckReceived():
                        self._answer(item)
                    case AckMissed(sid, ack_id):
                        self._callbacks.missed(sid, ack_id)
                        self._questions.missed(sid, ack_id)
                    case AckExpected():
                        self._questions.expected(batch.node, item)
                    case ServerEvent() | ServerAnswer():
                        self._peers.take(batch.node, item)
                    case Canary():
                        self._on_canary(item)
                    case _:
                        assert_never(item)
                if turn.is_over():
                    await turn.next()

    def _answer(self, answer: AckReceived) -> None:
        callback = self._callbacks.answer(answer.sid, answer.ack_id)
        if callback is None:
            if not self._questions.answered(answer):
                self._counters.acks_refused["unknown"] += 1
            return
        task = asyncio.create_task(self._call(callback, answer, answer.sid))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _call(self, callback: Callable[..., Any], answer: AckReceived, sid: str) -> None:
        if self._turns.must_wait:
            await self._turns.wait()
        task = running_task()
        try:
            try:
                args = decode(answer.data, answer.attachments, self._json_module)
            except MalformedPacket as error:
                self._counters.acks_refused["malformed"] += 1
                log.warning("ack_malformed", sid=sid, error=str(error))
                return
            self._counters.acks_received += 1
            await run(callback, args)
        except BaseException as error:  # noqa: BLE001 - the application's own error, which may be any
            raise_unless_own(error, task, None)
            self._counters.callbacks_failed += 1
            log_raised("callback_failed", sid=sid)
