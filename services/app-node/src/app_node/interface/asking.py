"""Questions to many clients: `call_many` and `answers`. Not in python-socketio."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from socketio import exceptions

from app_node.app import AppNode
from app_node.clients.question import Missing
from app_node.clients.questions import Answer
from app_node.clients.records_of_home import To
from app_node.downlink.held import held_output
from app_node.interface.rooms import Rooms, Sids, checked_namespace, rooms_of, sids_and_rooms, skipped
from app_node.interface.server_object import ServerObject
from app_node.payloads import decode, encode_event_of
from sio_cluster.node.turn import Turn
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.messages import SERVER_LEVEL, AckRequest


class AnswersMissing(exceptions.TimeoutError):  # type: ignore[misc]  # socketio has no types
    """Not everybody has answered. `answers` says who has, and why the others have not."""

    def __init__(self, answers: "Answers") -> None:
        super().__init__(f"{len(answers.missing)} of {len(answers) + len(answers.missing)} have not answered")
        self.answers = answers


class Answers(Mapping[str, Any]):
    """What `call_many` gives: sid -> answer. `missing`: sid -> why there is none. `call_server`: by app-nodes' ids.

    An answer is what `call` returns: the value, a tuple of several values, or None for none.
    """

    def __init__(self, answers: dict[str, Any], missing: Mapping[str, str]) -> None:
        self._answers = answers
        self.missing = missing

    def check(self) -> "Answers":
        """Itself, where nobody is missing. Raises AnswersMissing, a `socketio.exceptions.TimeoutError`, otherwise."""
        if self.missing:
            raise AnswersMissing(self)
        return self

    def __getitem__(self, sid: str) -> Any:
        return self._answers[sid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"Answers({self._answers!r}, missing={self.missing!r})"


class AnswerStream:
    """What `answers` gives: `async for sid, value in ...`. `missing` is complete when the loop has ended.

    The question leaves when the loop begins. Leave a loop early by `break`: the question is then closed as soon as
    Python drops the iterator, or at once by `async with contextlib.aclosing(...)`.
    """

    def __init__(self, pairs: AsyncGenerator[tuple[str, Any]], missing: dict[str, Missing]) -> None:
        self._pairs = pairs
        self.missing = missing

    def __aiter__(self) -> "AnswerStream":
        return self

    async def __anext__(self) -> tuple[str, Any]:
        return await anext(self._pairs)

    async def aclose(self) -> None:
        """Takes no more answers."""
        await self._pairs.aclose()


class Asking:
    """What a server object offers for questions to many."""

    async def call_many(
        self: ServerObject,
        event: str,
        data: Any = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        timeout: float = 60,
        *,
        except_room: Rooms | None = None,
    ) -> Answers:
        """Asks each client that `emit` would reach, and returns their answers by sid. Not in python-socketio.

        Returns as soon as it is known of each of them whether it has answered: it waits `timeout` seconds only for
        clients that are connected and silent, and never for an io-node that has died. `missing` says who has not
        answered, and why. A client counts as asked that was in the room when its io-node carried the question out.

        `except_room`: a room or a sid, or a list of them, whose members are not asked.

        Raises TooManyAnswers where the answers weigh more than MAX_INFLIGHT_BYTES (take them one by one, by
        `answers`), TooManyCalls where 1,000 questions to many are open, and NodesTooOld where a node of the cluster is
        older than this. Raises as `emit` for data that is not JSON. Raises RuntimeError in atomic handlers, and with
        `async_handlers=False`; ValueError for a timeout below 0, and TypeError for one that is no number.
        """
        missing: dict[str, Missing] = {}
        raw: list[Answer] = []
        asking = _ask(self, event, data, room, skip_sid, except_room, namespace, timeout, missing, keep=True)
        async with aclosing(asking):
            async for answer in asking:
                raw.append(answer)
        values: dict[str, Any] = {}
        turn = Turn()
        for answer in raw:
            _decode_into(values, missing, answer, self.node)
            if turn.is_over():
                await turn.next()
        return Answers(values, missing)

    def answers(
        self: ServerObject,
        event: str,
        data: Any = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        timeout: float = 60,
        *,
        except_room: Rooms | None = None,
    ) -> AnswerStream:
        """As `call_many`, and gives each answer when it comes: `async for sid, value in sio.answers(...)`.

        Keeps no answers. Those that the loop has not taken count for MAX_INFLIGHT_BYTES.
        """
        missing: dict[str, Missing] = {}

        async def pairs() -> AsyncGenerator[tuple[str, Any]]:
            asking = _ask(self, event, data, room, skip_sid, except_room, namespace, timeout, missing, keep=False)
            async with aclosing(asking):
                async for answer in asking:
                    values: dict[str, Any] = {}
                    _decode_into(values, missing, answer, self.node)
                    for pair in values.items():
                        yield pair

        return AnswerStream(pairs(), missing)


async def _ask(
    server: ServerObject,
    event: str,
    data: Any,
    room: Any,
    skip_sid: Any,
    except_room: Any,
    namespace: str | None,
    timeout: float,
    missing: dict[str, Missing],
    *,
    keep: bool,
) -> AsyncGenerator[Answer]:
    """Sends the question, and gives the answers. In the end `missing` says who has given none."""
    if not server.async_handlers:
        raise RuntimeError("Cannot ask clients when async_handlers is False.")
    if held_output() is not None:
        raise RuntimeError("Cannot ask clients in an atomic handler: the question would leave when it has ended.")
    if not timeout >= 0:  # before anybody is asked; None raises TypeError
        raise ValueError(f"The timeout is seconds, at least 0, not {timeout!r}.")
    node = server.node
    payload = encode_event_of(event, data, node.application.json_module, node.max_attachments)
    sids, except_rooms = sids_and_rooms(except_room)
    skip = [*skipped(skip_sid), *sids]
    to = To(checked_namespace(namespace or "/"), rooms_of(room), skip, except_rooms)
    if to.rooms == []:
        return
    await node.open_callbacks()
    await node.downlink.routes.require_level(SERVER_LEVEL, "a question to many clients")
    question = node.clients.questions.ask(to)
    try:
        ack = AckRequest(node.id, question.ack_id, is_call=True, hears_missed=True, names_asked=True)
        rooms, emitter = None if to.rooms is None else list(to.rooms), node.downlink.emitter
        homes = await emitter.emit(to.namespace, payload, rooms, skip, ack, except_rooms=except_rooms)
        await question.sent([*homes])
        deadline = asyncio.get_running_loop().time() + timeout
        turn = Turn()  # `next` does not wait while answers are there
        while (answer := await question.next(deadline, keep=keep)) is not None:
            yield answer
            if turn.is_over():
                await turn.next()
        missing.update(question.missing)
    finally:
        question.close()


def _decode_into(values: dict[str, Any], missing: dict[str, Missing], answer: Answer, node: AppNode) -> None:
    try:
        args = decode(answer.data, answer.attachments, node.application.json_module)
    except MalformedPacket:
        missing[answer.sid] = "malformed"
        return
    values[answer.sid] = args[0] if len(args) == 1 else tuple(args) if args else None
