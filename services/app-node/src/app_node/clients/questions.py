"""The questions to many clients that are open, and what has come of them.

Bounds: `MAX_QUESTIONS` may be open; one more is refused. What the answers may weigh that nobody has taken yet, says
`waiting_answers`.

An io-node says who was asked and who has left (`question`). One that was killed says nothing. So the registry is looked
at once in a heartbeat: an io-node that looks dead `LOOKS` times in a row is lost. So is one that is not registered any
more, after `GONE_LOOKS`, and a parked one at once. A client of which nobody says that it was asked is given up after
`LOOKS`.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from app_node.clients.callbacks import Callbacks
from app_node.clients.question import Missing, Question, Speechless
from app_node.clients.record_access import RecordAccess
from app_node.clients.records_of_home import RECORDS, RecordsOfHome, To
from app_node.clients.unanswered import LOOKS
from app_node.clients.waiting_answers import WaitingAnswers, size_of
from app_node.clock import Clock
from app_node.counters import Counters
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import TooManyAnswers, TooManyCalls
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import AckExpected, AckReceived
from sio_cluster.streams.api.registry import Registry

log = structlog.get_logger()

GONE_LOOKS = 2
"""Not one: when Redis has lost its data, nodes register anew at their next heartbeat."""
MAX_QUESTIONS = 1_000
PARKED_S = 0.5
"""How old the list of parked homes may be when a question is asked."""
LAST_LOOK_S = 1.0
"""For how long records are read when the time of a question is over already."""


class Answer(NamedTuple):
    """What one client said. `data`, `attachments`: as in `AckReceived`."""

    sid: str
    data: bytes
    attachments: Sequence[bytes]


class OpenQuestion:
    """One question as its asker sees it: `next` gives one answer after the other. `close` it in any case."""

    def __init__(self, questions: "Questions", ack_id: int, to: To) -> None:
        self.ack_id = ack_id
        self.to = to
        self.state = Question()
        self._questions = questions
        self._answers: deque[Answer] = deque()
        self._size = 0  # of the answers that count as waiting
        self._changed = asyncio.Event()
        self._failure: TooManyAnswers | None = None
        self._reading: set[asyncio.Task[None]] = set()
        self.early: dict[str, dict[str, str]] = {}
        """Who was to answer, of homes that looked dead once: by home, sids with the io-nodes that held them. Their
        records may go before the home counts as dead."""

    @property
    def missing(self) -> dict[str, Missing]:
        """Who will not answer, and why. Final when `next` has given None or raised."""
        return self.state.missing

    async def sent(self, homes: Sequence[str]) -> None:
        """The question is in the inboxes of these homes."""
        parked = await self._questions.parked()
        self.state.sent(homes)
        for home in homes:
            if home in parked:
                self._read_records(home, "parked")
        self._changed.set()

    async def next(self, deadline: float, *, keep: bool) -> Answer | None:
        """The next answer. None when there will be no more, or the event loop's time is `deadline`.

        `keep`: the answer counts as waiting until `close`. Raises TooManyAnswers.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self._answers:
                answer = self._answers.popleft()
                if not keep:
                    self._release(size_of(answer.data, answer.attachments))
                return answer
            if self.state.complete:
                break
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                await self._look_a_last_time()
                if not self._answers:
                    break
        named = await self._questions.expected_of(self)
        if self._answers or self._failure is not None:  # it came meanwhile
            return await self.next(deadline, keep=keep)
        self.state.give_up(self._questions.looks_dead, named)
        return None

    def close(self) -> None:
        """Nobody waits for it any more. Idempotent."""
        self._questions.forget(self)
        self._release(self._size)
        self._answers.clear()
        for task in self._reading:
            task.cancel()

    # --- for `Questions`

    def take(self, answer: Answer) -> bool:
        """This client has answered. False where it had before."""
        if not self.state.answered(answer.sid):
            return False
        size = size_of(answer.data, answer.attachments)
        if self._failure is None and (refusal := self._questions.waiting.refusal(size)) is not None:
            self._failure = refusal
            self._answers.clear()
            self._release(self._size)
        if self._failure is None:
            self._size += size
            self._questions.waiting.bytes += size
            self._answers.append(answer)
        self._changed.set()
        return True

    def suspect(self, node: str) -> None:
        """This io-node looks dead for the first time."""
        if node in self.state.homes_due and node not in self.early:
            self.early[node] = {}
            self._keep(self._questions.read_early(self, node))

    def lose(self, node: str) -> None:
        """This io-node has died."""
        was_due = node in self.state.homes_due
        self.state.lost(node)
        if was_due:
            self._read_records(node, "lost")
        self._changed.set()

    def changed(self) -> None:
        self._changed.set()

    def _release(self, size: int) -> None:
        self._size -= size
        self._questions.waiting.bytes -= size

    def _read_records(self, home: str, why: Speechless) -> None:
        self.state.speechless(home)
        self._keep(self._questions.read_records(self, home, why))

    def _keep(self, reading: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(reading)
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _look_a_last_time(self) -> None:
        """Homes that have not spoken in time: at least their records say who was to answer."""
        for home in list(self.state.homes_due):
            self._read_records(home, "lost" if self._questions.looks_dead(home) else "silent")
        if self._reading:
            await asyncio.wait(self._reading, timeout=LAST_LOOK_S)


class Questions:
    """All open questions to many. `run` is a loop."""

    def __init__(
        self,
        callbacks: Callbacks,
        records: RecordAccess,
        of_home: RecordsOfHome,
        registry: Registry,
        clock: Clock,
        counters: Counters,
        *,
        pause_s: float,
        waiting: WaitingAnswers,
    ) -> None:
        self.waiting = waiting
        self._callbacks = callbacks
        self._records = records
        self._of_home = of_home
        self._registry = registry
        self._clock = clock
        self._counters = counters
        self._retry = Retry("questions", counters.redis_retries)
        self._pause_s = pause_s
        self._open: dict[int, OpenQuestion] = {}
        self._any = asyncio.Event()
        self._parked: frozenset[str] = frozenset()
        self._parked_known_at = float("-inf")
        self._dead_looks: Counter[str] = Counter()  # by io-node: how often in a row it has looked dead
        self._unconfirmed: Counter[tuple[int, str]] = Counter()  # by ack id and sid: how often in a row
        self._life: str | None = None

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, to: To) -> OpenQuestion:
        """A new question, which is to be sent. Raises TooManyCalls, counted, where MAX_QUESTIONS are open."""
        if len(self._open) >= MAX_QUESTIONS:
            self._counters.calls_refused += 1
            raise TooManyCalls(f"{MAX_QUESTIONS} questions to many clients are open")
        question = OpenQuestion(self, self._callbacks.reserve(), to)
        self._open[question.ack_id] = question
        self._any.set()
        return question

    def forget(self, question: OpenQuestion) -> None:
        self._open.pop(question.ack_id, None)
        self._callbacks.release(question.ack_id)

    # --- what comes into the inbox. Each returns whether it belongs to an open question.

    def answered(self, answer: AckReceived) -> bool:
        question = self._open.get(answer.ack_id)
        if question is None or not question.take(Answer(answer.sid, answer.data, answer.attachments)):
            return False
        self._counters.acks_received += 1
        return True

    def expected(self, node: str, message: AckExpected) -> None:
        question = self._open.get(message.ack_id)
        if question is not None:
            question.state.expected(node, message)
            question.changed()

    def missed(self, sid: str, ack_id: int) -> None:
        question = self._open.get(ack_id)
        if question is not None:
            self._counters.acks_missed += 1
            question.state.missed(sid)
            question.changed()

    # --- for the questions

    def looks_dead(self, node: str) -> bool:
        """Whether this io-node did not live when it was looked at last."""
        return node in self._parked or self._dead_looks[node] > 0

    async def parked(self) -> frozenset[str]:
        """Homes without an io-node, as of late."""
        if self._clock() - self._parked_known_at >= PARKED_S:
            asked_at = self._clock()
            self._parked = frozenset(await self._retry.call(self._registry.parked_io_nodes))
            self._parked_known_at = asked_at
        return self._parked

    async def expected_of(self, question: OpenQuestion) -> list[str]:
        """The sids that were named, and that are answered or missing in any case. Their records say of whom nothing
        was heard whether they were excepted."""
        to, state = question.to, question.state
        if not to.except_rooms:
            return to.named
        excepted = set()
        with suppress(TimeoutError):  # Redis is away: whoever was named is then expected
            async with asyncio.timeout(LAST_LOOK_S):
                for sid in [sid for sid in to.named if not state.knows(sid)]:
                    record = await self._records.load(sid)
                    if record is not None and not record.rooms.isdisjoint(to.except_rooms):
                        excepted.add(sid)
        return [sid for sid in to.named if sid not in excepted]

    async def read_records(self, question: OpenQuestion, home: str, why: Speechless) -> None:
        """Reads who of this home's clients belongs to those who are asked, since nobody else says it."""
        left = dict(question.early.get(home, {}))
        async for record in self._of_home.asked(home, question.to):
            sid, holder = record.connected.sid, record.connected.holder or home
            left.pop(sid, None)
            question.state.found(sid, holder, why, away=record.away)
        for sid, holder in left.items():
            question.state.found(sid, holder, why, away=False)
        question.state.read(home)
        question.changed()

    async def read_early(self, question: OpenQuestion, home: str) -> None:
        """Notes who of this home's clients was to answer."""
        async for record in self._of_home.asked(home, question.to):
            if not record.away:
                question.early[home][record.connected.sid] = record.connected.holder or home

    # --- looks

    async def run(self) -> None:
        """For as long as the node lives. Looks while a question is open. Retried while Redis is away."""
        while True:
            await self._any.wait()
            await asyncio.sleep(self._pause_s)
            await self._retry.call(self.look)

    async def look(self) -> None:
        """One look. Raises BusError."""
        if not self._open:
            self._any.clear()
            self._dead_looks.clear()
            self._unconfirmed.clear()
            return
        life = await self._registry.life()
        if life is None or life != self._life:  # Redis lost its data: nodes register anew
            self._life = life
            self._dead_looks.clear()
            self._unconfirmed.clear()
        alive = await self._registry.io_nodes()
        registered = frozenset(await self._registry.registered_io_nodes())
        self._parked_known_at = float("-inf")
        parked = await self.parked()
        waited_for = set[str]().union(*[question.state.nodes for question in self._open.values()])
        looks = {node: self._dead_looks[node] + 1 for node in waited_for if node not in alive}
        self._dead_looks = Counter(looks)
        most = {node: LOOKS if node in registered else GONE_LOOKS for node in looks}
        lost = [node for node, number in looks.items() if number >= most[node] or node in parked]
        for question in list(self._open.values()):
            for node in looks:
                question.suspect(node)
            for node in lost:
                question.lose(node)
        await self._look_at_unconfirmed()

    async def _look_at_unconfirmed(self) -> None:
        looks: Counter[tuple[int, str]] = Counter()
        for ack_id, question in list(self._open.items()):
            for sid in list(question.state.unconfirmed)[:RECORDS]:
                looks[ack_id, sid] = self._unconfirmed[ack_id, sid] + 1
                if looks[ack_id, sid] >= LOOKS:
                    question.state.missed(sid)
                else:
                    record = await self._records.load(sid)
                    if record is not None and not record.away:
                        question.state.held_by(sid, record.connected.holder or node_of(sid) or "")
            question.changed()
        self._unconfirmed = looks
