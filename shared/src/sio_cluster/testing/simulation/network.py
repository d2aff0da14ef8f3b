"""What lies between the processes and Redis: time, and the ways in which connections fail."""

import asyncio
import enum
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from sio_cluster.protocol.errors import BusError, BusUnavailable, LeaseLost
from sio_cluster.testing.simulation.clock import SteppedLoop, VirtualClock

ANSWER_TIMEOUT_S = 1.0
"""How long a process waits for an answer before it gives its connection up (`streams.redis` waits 3 s)."""

LATE_S = (0.0, 0.01, 0.5, 1.5, 3.0)
"""How many seconds late Redis may see what was sent over a connection that its process has given up: the kernel
sends it again and again."""

Effect = Callable[[], Any]


class Outage(enum.Enum):
    """In which way Redis is away."""

    NONE = "none"
    STALLED = "stalled"
    """It was stopped (SIGSTOP). It takes commands in and does nothing; when it goes on, it carries all of them out."""
    GONE = "gone"
    """Nobody listens: connections are reset."""


class Request:
    """One command on its way: `future` belongs to the process that waits for the reply.

    `arguments` are those by position, and after them those by name.
    """

    __slots__ = ("arguments", "blocked", "connection", "dropped", "effect", "future", "name", "patience_s", "sent")

    def __init__(
        self,
        connection: "SimulatedConnection",
        name: str,
        arguments: tuple[Any, ...],
        effect: Effect,
        future: asyncio.Future[Any],
        patience_s: float | None,
    ) -> None:
        self.connection = connection
        self.name = name
        self.arguments = arguments
        self.effect = effect
        self.future = future
        self.patience_s = patience_s  # of a blocking read, None for all others
        self.sent = False  # it took effect, or waits in Redis
        self.blocked = False
        self.dropped = False


class SimulatedConnection:
    """One connection of one process: commands take effect in the order sent, and replies come in that order."""

    def __init__(self, network: "Network", loop: SteppedLoop, name: str) -> None:
        self.network = network
        self.loop = loop
        self.name = name
        self.open = True
        self.in_flight: deque[Request] = deque()
        self.late: list[Request] = []  # sent over a connection that was given up, and not arrived
        self.effect_at = 0.0
        self.reply_at = 0.0

    async def call(self, name: str, arguments: tuple[Any, ...], effect: Effect, patience_s: float | None = None) -> Any:
        """One round trip: what `effect` returned or raised in Redis. Raises BusUnavailable where no reply came.

        An effect of a blocking read (`patience_s`) returns None for as long as there is nothing to answer.
        """
        future = asyncio.get_running_loop().create_future()
        self.network.send(Request(self, name, arguments, effect, future, patience_s))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S + (patience_s or 0.0)):
                return await future
        except TimeoutError:
            self.reset()
            raise BusUnavailable("no answer in time") from None

    def reset(self) -> None:
        """The connection is lost, and the next command opens another one.

        Redis carries out what it had taken in by then, sooner or later, except for reads. It never sees the rest.
        """
        network = self.network
        waiting, self.in_flight = self.in_flight, deque()
        self.effect_at = self.reply_at = 0.0
        on_their_way = [request for request in waiting if not request.sent]
        arrive = network.random.randint(0, len(on_their_way))
        delay_s = network.random.choice(LATE_S)
        for number, request in enumerate(on_their_way):
            request.dropped = True
            if number < arrive and request.patience_s is None:
                network.send_late(request, delay_s)
        for request in waiting:
            network.unblock(request)
            self.finish(request, BusUnavailable("the connection was lost"))

    def close(self) -> None:
        """The process is dead. What it had sent may still arrive."""
        self.open = False
        self.reset()

    def finish(self, request: Request, result: Any) -> None:
        """The reply, or the failure, reaches the process."""
        if request.future.done() or not self.open:
            return
        self.loop.woken = True
        if isinstance(result, BaseException):
            request.future.set_exception(result)
        else:
            request.future.set_result(result)


class Network:
    """All connections to one Redis. `random` draws how long things take; `slow` makes them take long.

    `after_effect` is called after each operation with its request and what it returned or raised.
    """

    def __init__(self, clock: VirtualClock, random: random.Random) -> None:
        self.clock = clock
        self.random = random
        self.outage = Outage.NONE
        self.slow = False
        self.after_effect: list[Callable[[Request, Any], None]] = []
        self.round_trips = 0
        self._number = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._stalled: list[Request] = []
        self._blocked: list[Request] = []
        self._connections: list[SimulatedConnection] = []

    def connection(self, loop: SteppedLoop, name: str) -> SimulatedConnection:
        connection = SimulatedConnection(self, loop, name)
        self._connections.append(connection)
        return connection

    @property
    def next_at(self) -> float | None:
        return self._events[0][0] if self._events else None

    def fire(self) -> None:
        """Does everything that is due."""
        while self._events and self._events[0][0] <= self.clock.now:
            heapq.heappop(self._events)[2]()

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.clock.now + delay_s, next(self._number), action))

    def become(self, outage: Outage) -> None:
        """Redis goes away, or comes back."""
        self.outage = outage
        if outage is Outage.GONE:
            self._stalled.clear()
            for connection in self._connections:
                connection.reset()
        elif outage is Outage.NONE:
            stalled, self._stalled = self._stalled, []
            for request in self._mixed(stalled):
                self._take_effect(request)

    def send(self, request: Request) -> None:
        """A process sends a command. A dead process sends nothing any more."""
        connection = request.connection
        if not connection.open:
            return
        connection.in_flight.append(request)
        connection.effect_at = max(connection.effect_at, self.clock.now + self._delay_s())
        self._at(connection.effect_at, lambda: self._arrive(request))

    def send_late(self, request: Request, delay_s: float) -> None:
        """Commands that are on their way when their connection is lost arrive late, in order for each connection."""

        late = request.connection.late

        def arrive() -> None:
            if request in late:
                request.dropped = False
                self._arrive(request)

        late.append(request)
        self.after(delay_s, arrive)

    def unblock(self, request: Request) -> None:
        """Nobody waits for this read any more."""
        if request.blocked:
            request.blocked = False
            self._blocked.remove(request)

    def _arrive(self, request: Request) -> None:
        if request.dropped:
            return
        match self.outage:
            case Outage.GONE:
                if request in request.connection.in_flight:
                    request.connection.reset()
            case Outage.STALLED:
                request.sent = True
                self._stalled.append(request)
            case Outage.NONE:
                self._take_effect(request)

    def _take_effect(self, request: Request) -> None:
        if request.patience_s is not None and request not in request.connection.in_flight:
            return
        if request in request.connection.in_flight:
            request.connection.late.clear()  # a new connection begins by closing the former one at Redis
        elif request in request.connection.late:
            request.connection.late.remove(request)
        elif not request.sent:
            return
        request.sent = True
        self.round_trips += 1
        result = self._run(request)
        if result is not None or request.patience_s is None:
            self._reply(request, result)
        else:
            request.blocked = True
            self._blocked.append(request)
            self.after(request.patience_s, lambda: self._give_up(request))
        self._serve_blocked()

    def _run(self, request: Request) -> Any:
        try:
            result = request.effect()
        except (BusError, LeaseLost) as error:
            result = error
        for observer in self.after_effect:
            observer(request, result)
        return result

    def _serve_blocked(self) -> None:
        for request in list(self._blocked):
            if request.blocked and (result := self._run(request)) is not None:
                self.unblock(request)
                self._reply(request, result)

    def _give_up(self, request: Request) -> None:
        if request.blocked:
            self.unblock(request)
            self._reply(request, [])

    def _reply(self, request: Request, result: Any) -> None:
        connection = request.connection
        connection.reply_at = max(connection.reply_at, self.clock.now + self._delay_s())

        def deliver() -> None:
            if request in connection.in_flight:
                connection.in_flight.remove(request)
                connection.finish(request, result)

        self._at(connection.reply_at, deliver)

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._number), action))

    def _delay_s(self) -> float:
        """Half a round trip."""
        draw = self.random.random()
        if self.slow:
            return 0.005 + 0.5 * draw * draw * draw
        return 0.0002 + 0.001 * draw if draw < 0.95 else 0.03 * self.random.random()

    def _mixed(self, requests: list[Request]) -> list[Request]:
        """In order for each connection. Which connection comes when is left to chance."""
        queues: dict[SimulatedConnection, deque[Request]] = {}
        for request in requests:
            queues.setdefault(request.connection, deque()).append(request)
        mixed = []
        while queues:
            connection = self.random.choice(list(queues))
            mixed.append(queues[connection].popleft())
            if not queues[connection]:
                del queues[connection]
        return mixed
