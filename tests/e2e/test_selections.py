"""All who match, over two io-nodes and three app-nodes: real processes, real Redis, and clients that listen.

Socket.IO's own tests of its cluster adapters ask much of this of it: socketsJoin, socketsLeave and disconnectSockets
for all, for those in a room, and for given ones; emits to everybody, a namespace, rooms, and with exceptions.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from tests.agreement import by_index, differences, members_by, wrong_numbers
from tests.conformance.raw import Wire
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV, ack_ids

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis import RedisBus
from sio_stack import Stack

pytestmark = [pytest.mark.forked, pytest.mark.e2e, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

APP = str(ROOT / "tests/e2e/selections_app.py") + ":sio"
CLIENTS = 16
LANES = 16
ROOMS = ("a", "", "ü", "{lane:1}}b")


class Person:
    """One client, which notes what it is told."""

    def __init__(self, wire: Wire, sid: str) -> None:
        self.wire = wire
        self.sid = sid
        self.told: list[Any] = []
        self.asked = 0
        self.closed = asyncio.Event()
        self.left = asyncio.Event()
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def ask(self, event: str, *args: Any) -> Any:
        self.asked += 1
        ack_id = str(next(ack_ids))
        answer = self._answers[ack_id] = asyncio.get_running_loop().create_future()
        await self.wire.send(f"42{ack_id}{json.dumps([event, *args])}")
        async with asyncio.timeout(60):
            return await answer

    async def until_asked(self, number: int) -> None:
        """Until it has asked so many times since now."""
        asked = self.asked + number
        async with asyncio.timeout(60):
            while self.asked < asked:  # others ask
                await asyncio.sleep(0.005)

    async def until(self, told: int) -> None:
        async with asyncio.timeout(20):
            while len(self.told) < told:  # what comes is noted by a task
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        try:
            while True:
                packet = str(await self.wire.receive(120))
                if packet.startswith("42"):
                    self.told.append(json.loads(packet[2:])[1])
                elif packet.startswith("43"):
                    ack_id, _, answer = packet[2:].partition("[")
                    if ack_id in self._answers:
                        self._answers.pop(ack_id).set_result((json.loads("[" + answer) or [None])[0])
                elif packet == "41":
                    self.left.set()
        except Exception:  # noqa: BLE001 - however the connection ends
            self.closed.set()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(io_nodes=2, app_nodes=3, app=APP, port=0, env=ENV) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def people(stack: Stack) -> AsyncIterator[list[Person]]:
    """Clients of both io-nodes, of all lanes' holders, who are in no room."""
    async with AsyncExitStack() as connections:
        people = []
        for number in range(CLIENTS):
            wire = await connections.enter_async_context(Wire.open(stack.io_nodes[number % 2].url))
            people.append(Person(wire, await wire.join(packets=1)))
            connections.push_async_callback(people[-1].stop)
        yield people


async def told(people: list[Person], room: Any, except_room: Any = None) -> set[int]:
    """Who hears what is said there, by number. Each hears it once."""
    for person in people:
        person.told.clear()
    await people[0].ask("tell", room, except_room, "something")
    await people[0].ask("tell", None, None, "end")
    await asyncio.gather(*[until_end(person) for person in people])
    assert all(person.told.count("something") <= 1 for person in people)
    return {number for number, person in enumerate(people) if "something" in person.told}


async def until_end(person: Person) -> None:
    async with asyncio.timeout(20):
        while "end" not in person.told:  # what comes is noted by a task
            await asyncio.sleep(0.01)


async def test_all_enter_and_leave(people: list[Person]) -> None:
    """All, those in a room, those of a list of sids; and those who are told are those who are in there."""
    everybody = set(range(CLIENTS))
    some = [person.sid for person in people[3:7]]
    await people[1].ask("enter_all", "all", None, None)
    assert await told(people, "all") == everybody
    await people[2].ask("enter_all", ["some", 7], some, None)
    await people[3].ask("enter_all", "others", "all", ["some", people[0].sid])
    assert await told(people, ["some"]) == await told(people, 7) == {3, 4, 5, 6}
    assert await told(people, "others") == everybody - {0, 3, 4, 5, 6}
    assert await told(people, ["some", "others", people[3].sid], people[4].sid) == everybody - {0, 4}
    assert await told(people, None, "all") == set()
    await people[4].ask("leave_all", "all", "others", None)
    assert await told(people, "all") == {0, 3, 4, 5, 6}
    await people[5].ask("leave_all", ["some", "all"], None, people[3].sid)
    assert await told(people, "all") == await told(people, "some") == {3}
    assert await told(people, None, ["others", "some"]) == {0, 4, 5, 6}


async def test_those_who_match_are_disconnected(people: list[Person]) -> None:
    await people[0].ask("enter_all", "out", [person.sid for person in people[4:12]], None)
    await people[0].ask("disconnect_all", "out", False, people[5].sid)
    gone = [person for number, person in enumerate(people) if 4 <= number < 12 and number != 5]
    async with asyncio.timeout(10):
        for person in gone:
            await person.left.wait()
    staying = [person for person in people if person not in gone]
    assert await told(staying, "out") == {staying.index(people[5])}
    await people[0].ask("disconnect_all", people[5].sid, True, None)
    async with asyncio.timeout(10):
        await people[5].closed.wait()
    assert people[5].left.is_set()


async def test_everybody_hears_the_last_word_and_goes(people: list[Person]) -> None:
    """What was emitted before comes before the end, on every io-node; and nobody stays, also not who says it."""
    await people[0].wire.send('42["last_word","bye"]')
    async with asyncio.timeout(10):
        for person in people:
            await person.closed.wait()
    assert [person.told for person in people] == [["bye"]] * CLIENTS
    assert all(person.left.is_set() for person in people)


@pytest.mark.parametrize("number", [200, pytest.param(1_000, marks=pytest.mark.ci_only)])
async def test_an_emit_after_that_misses_nobody(people: list[Person], number: int) -> None:
    """So many rounds, from three app-nodes at the same time."""
    await people[0].ask("enter_all", "players", None, None)
    askers = 4
    share = number // askers
    await asyncio.gather(*[people[n].ask("rounds", n * share, share) for n in range(askers)])
    await asyncio.gather(*[person.until(number) for person in people])
    for person in people:
        assert sorted(person.told) == list(range(number))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.ci_only) for seed in (1, 2))])
async def test_a_random_history_ends_in_agreement(stack: Stack, people: list[Person], seed: int) -> None:
    """What the io-nodes do, what the records and the room index say, and what each holder knows. Some clients are
    disconnected meanwhile, and some close their connections."""
    draws = random.Random(seed)
    staying = people[:-4]

    def random_change() -> tuple[Any, ...]:
        rooms = draws.sample(ROOMS, draws.randint(1, 2))
        other = draws.choice(people).sid  # who has gone is named, too
        to = draws.choice([None, draws.choice(ROOMS), draws.sample(ROOMS, 2), [other, draws.choice(ROOMS)]])
        kind = draws.choice(["enter", "enter", "enter", "leave", "enter_all", "enter_all", "leave_all", "close"])
        match kind:
            case "enter" | "leave":
                return kind, other, rooms[0]
            case "close":
                return kind, rooms[0]
            case _:
                return kind, rooms, to, draws.choice([None, draws.choice(ROOMS), other])

    async def act(person: Person) -> None:
        for _ in range(12):
            await asyncio.gather(*[person.ask(*random_change()) for _ in range(4)])

    async def go(person: Person) -> None:
        await staying[0].until_asked(draws.randint(1, 40))
        if draws.random() < 0.5:
            await staying[1].ask("disconnect_all", person.sid, False, None)
        else:
            await person.wire.socket.close()

    await asyncio.gather(*map(act, staying), *map(go, people[-4:]))
    at_last = [(kind, room, None, None) for kind in ("enter_all", "leave_all") for room in ROOMS] * 3
    draws.shuffle(at_last)
    await asyncio.gather(*[draws.choice(staying).ask(*change) for change in at_last])
    await staying[0].ask("disconnect_all", [person.sid for person in people[-4:]], False, None)  # who may come back
    bus = RedisBus(Config(REDIS_URL=stack.redis_url, LOG_LEVEL="warning"))
    differences = ["nothing was looked at"]
    try:
        async with asyncio.timeout(30):
            while differences := await disagreements(bus, staying):  # several processes settle it
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail("\n".join(differences))
    finally:
        await bus.stop()


async def disagreements(bus: RedisBus, people: list[Person]) -> list[str]:
    """Where two views of who is in which room differ: of the holders, the records, the room index, the io-nodes."""
    answers = await asyncio.gather(*[person.ask("known") for person in people])
    assert len({pid for pid, _, _ in answers}) > 1, "several app-nodes serve the clients"
    sids = [person.sid for person in people]
    index = await by_index(bus, ROOMS, LANES)
    hear = {room: {people[number].sid for number in await told(people, room)} for room in ROOMS}
    places = {
        "holders": members_by(zip(sids, [rooms for _, rooms, _ in answers], strict=True)),
        "records": members_by(zip(sids, [record for _, _, record in answers], strict=True)),
        "index": index,
        "io-nodes": hear,
    }
    return differences(places) + await wrong_numbers(bus, index, LANES)
