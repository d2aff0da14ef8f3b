"""Random histories of a cluster: clients enter and leave rooms, lose their connections, come back anywhere, while
io-nodes die, are buried, and forget what is old. What each client gets is compared with what one would have heard that
had stood in its rooms all the time."""

import random
from dataclasses import dataclass, field

from sio_cluster.protocol.messages import CloseRoom, Command, Join, Leave
from sio_cluster.streams.api.records import Ended

from .cluster import Browser, Cluster, Node, cluster, emit

ROOMS = ("red", "blue", "green")
CLIENTS = 5
STEPS = 80
KEEP_MS = 1_000_000


class Wrong(AssertionError):
    """A client got something else than it should, or not its session."""


@dataclass(eq=False)
class Person:
    """A client and the truth about it. `heard`: what one in its place would have heard. `never`: what was volatile, and
    was said while it was away."""

    browser: Browser
    rooms: set[str] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)
    never: set[str] = field(default_factory=set)
    node: Node | None = None
    """Where its connection is. None: it is away."""

    @property
    def sid(self) -> str:
        return self.browser.sid

    def hears(self, name: str, to: list[str] | None, skip: list[str], except_rooms: list[str]) -> None:
        mine = {self.sid, *self.rooms}
        if self.sid not in skip and (to is None or not mine.isdisjoint(to)) and mine.isdisjoint(except_rooms):
            self.heard.append(name)


class History:
    """One history. All that is random follows from `seed`."""

    def __init__(self, world: Cluster, seed: int, *, forgets: bool) -> None:
        """`forgets`: whether logs are cut. Then a client may begin anew, and may not miss anything all the same."""
        self._world = world
        self._draws = random.Random(seed)
        self._forgets = forgets
        self._people: list[Person] = []
        self._dead: list[tuple[str, list[tuple[str, int]]]] = []
        self._said = 0
        self.returns = 0
        self.fresh = 0
        self.skipped = 0
        """Entries that concerned nobody at a home."""

    async def run(self) -> None:
        for _ in range(CLIENTS):
            node = self._node()
            self._people.append(Person(await self._world.browser(node), node=node))
        steps = [self._say] * 6 + [self._move] * 4 + [self._close] + [self._drop] * 3 + [self._back] * 4
        steps += (
            [self._kill, self._bury, self._lose]
            + [self._look] * 8
            + [self._enter_unseen] * 2
            + [self._forget] * (2 * self._forgets)
        )
        for _ in range(STEPS):
            await self._draws.choice(steps)()
        for person in self._people:
            await self._return(person, half_open=False)
        await self._emit(None, [], [])
        await self._world.settled()
        for person in self._people:
            await self._all_heard(person)

    # --- steps

    async def _say(self) -> None:
        draws = self._draws
        names = [*ROOMS, *(person.sid for person in self._people)]
        to = None if draws.random() < 0.2 else draws.sample(names, draws.randint(1, 3))
        skip = [draws.choice(self._people).sid] if draws.random() < 0.2 else []
        except_rooms = [draws.choice(ROOMS)] if draws.random() < 0.2 else []
        await self._emit(to, skip, except_rooms)
        if draws.random() < 0.5:
            await self._world.settled()

    async def _emit(self, to: list[str] | None, skip: list[str], except_rooms: list[str]) -> None:
        self._said += 1
        name = f"n{self._said}"
        for person in self._people:
            person.hears(name, to, skip, except_rooms)
            if person.node is None:
                person.never.add(f"volatile {name}")
        events = [emit(name, to, skip, except_rooms=except_rooms)]
        if self._draws.random() < 0.3:
            events.insert(0, emit(f"volatile {name}", to, skip, volatile=True))
        await self._tell(*events)

    async def _move(self) -> None:
        person, room = self._draws.choice(self._people), self._draws.choice(ROOMS)
        enters = self._draws.random() < 0.6
        (person.rooms.add if enters else person.rooms.discard)(room)
        await self._tell(Join(person.sid, room) if enters else Leave(person.sid, room))

    async def _close(self) -> None:
        room = self._draws.choice(ROOMS)
        for person in self._people:
            person.rooms.discard(room)
        command: Command = CloseRoom("/", room)
        await self._tell(command)

    async def _drop(self) -> None:
        if here := [person for person in self._people if person.node is not None]:
            person = self._draws.choice(here)
            person.browser.drop()
            person.node = None

    async def _back(self) -> None:
        await self._return(self._draws.choice(self._people), half_open=self._draws.random() < 0.3)

    async def _return(self, person: Person, *, half_open: bool) -> None:
        if person.node is not None and not half_open:
            return
        was = person.sid
        person.browser.look()
        person.node = self._node()
        person.browser.open(person.node)
        await person.browser.joined()
        self.returns += 1
        if person.browser.recovered:
            return
        if not self._forgets:
            raise Wrong(f"{was} did not get its session back: {person.node.counters.claims_refused}")
        self.fresh += 1
        person.rooms.clear()
        person.heard.clear()
        person.browser.events.clear()

    async def _kill(self) -> None:
        node = self._node()
        held = [person for person in self._people if person.node is node]
        for person in held:
            person.browser.look()
            person.node = None
        clients = self._world.broker.clients
        self._dead.append((node.id, [(person.sid, clients[person.sid].generation) for person in held]))
        await self._world.kill(node)
        await self._world.start()

    async def _bury(self) -> None:
        """Whoever finds a dead io-node says that its clients are gone, however late: some are back by then."""
        while self._dead:
            _, held = self._dead.pop()
            await self._world.bus.records.forget([Ended(sid, generation, KEEP_MS) for sid, generation in held])

    async def _forget(self) -> None:
        await self._world.settled()
        for node in self._alive():
            node.later()
            await node.io_node._recovery.retention.forget_due()

    async def _look(self) -> None:
        """An io-node says which rooms have members: of what it has carried out, which may not be all."""
        if self._draws.random() < 0.5:
            await self._world.settled()
        await self._draws.choice(self._alive()).io_node._recovery._interest.look()

    async def _lose(self) -> None:
        """Redis has the account of an io-node no more."""
        await self._world.bus.interest.give_up(self._draws.choice(self._alive()).id)

    async def _enter_unseen(self) -> None:
        """A client enters a room while its home stands still, but for the account. Then somebody emits to the room."""
        person, room = self._draws.choice(self._people), self._draws.choice(ROOMS)
        for node in self._alive():
            node.goes_on.clear()
        person.rooms.add(room)
        await self._tell(Join(person.sid, room))
        for node in self._alive() * 2:
            if node.io_node._recovery._interest.is_kept:  # it begins when the inbox is carried out
                await node.io_node._recovery._interest.look()
        await self._emit([room], [], [])
        for node in self._alive():
            node.goes_on.set()

    async def _tell(self, *commands: Command) -> None:
        """To all homes, in each at a later place than all that was told before: Redis takes them from its clock, and a
        client keeps the offset of a former session, of another home."""
        broker, keys = self._world.broker, self._world.bus.keys
        homes = await self._world.bus.registry.registered_io_nodes()
        inboxes = [broker.streams[keys.inbox(home)] for home in homes]
        last = max(inbox.last_id for inbox in inboxes)
        for inbox in inboxes:
            inbox.last_id = last
        await self._world.say(*commands)

    # --- what is true

    async def _all_heard(self, person: Person) -> None:
        for _ in range(20):  # one that is told much is told it in several turns
            await self._world.settled()
            if len(self._got(person)) >= len(person.heard):
                break
        got = self._got(person)
        if got != person.heard:
            raise Wrong(f"{person.sid} got {got} and not {person.heard}")
        if late := person.never & {event[0] for event in person.browser.events}:
            raise Wrong(f"{person.sid} got {late}, which was said while it was away")

    def _got(self, person: Person) -> list[str]:
        names = [event[0] for event in person.browser.look().events]
        return [name for name in names if not name.startswith("volatile")]

    def _alive(self) -> list[Node]:
        return [node for node in self._world.nodes if not node.task.done()]

    def _node(self) -> Node:
        return self._draws.choice(self._alive())


async def history(seed: int, *, forgets: bool) -> History:
    """One history, which was right. Raises `Wrong` where it was not."""
    settings = {"RECOVERY_MAX_BYTES": 1_000} if forgets else {}
    async with cluster(2, **settings) as world:
        told = History(world, seed, forgets=forgets)
        await told.run()
        told.skipped = world.skipped
        return told
