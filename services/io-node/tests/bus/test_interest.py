"""An io-node's account of the rooms in which its home has members."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from io_node.bus.interest import LOOK_S, InterestKeeper
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.messages import INTEREST_LEVEL, Room
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

HOME = "io1-aaaaaa"


@dataclass
class Members:
    """`here`: how many are in each room."""

    here: Counter[Room] = field(default_factory=Counter)
    touched: set[Room] = field(default_factory=set)
    knows_all_rooms: bool = True

    def enter(self, room: Room) -> None:
        self.here[room] += 1
        self.touched.add(room)

    def leave(self, room: Room) -> None:
        self.here[room] -= 1
        self.touched.add(room)

    def all_rooms(self) -> Iterable[Room]:
        return [room for room in self.here if self.here[room]]

    def is_empty(self, room: Room) -> bool:
        return not self.here[room]

    def take_touched(self) -> set[Room]:
        touched, self.touched = self.touched, set()
        return touched


class World:
    def __init__(self, look_s: float = LOOK_S) -> None:
        self.broker = MemoryBroker()
        self.bus = MemoryBus(config_of(), self.broker)
        self.members = Members()
        self.level = INTEREST_LEVEL
        self.keeper = InterestKeeper(
            HOME,
            self.bus.interest,
            self.members,
            level=lambda: self.level,
            retry=Retry("interest", Counter()),
            look_s=look_s,
        )
        self._seq = 0

    async def join(self, room: Room) -> bytes:
        """The id of an entry by which a client enters this room. It is not carried out yet."""
        assert await self.append(lets_into=[room]) is AppendResult.APPENDED
        return b"%d-0" % self.broker.streams[self.bus.keys.inbox(HOME)].last_id

    async def reaches(self, room: Room) -> bool:
        """Whether what is said to this room comes to the home."""
        inbox, carried_out = self.broker.streams[self.bus.keys.inbox(HOME)], self.keeper.progress.carried_out
        all_carried_out = carried_out == b"%d-0" % inbox.last_id
        reached = await self.append(only_for=[room]) is AppendResult.APPENDED
        if reached and all_carried_out:
            self.keeper.progress.carried_out = b"%d-0" % inbox.last_id
        return reached

    async def append(self, only_for: list[Room] | None = None, lets_into: list[Room] | None = None) -> AppendResult:
        self._seq += 1
        inbox = self.bus.keys.inbox(HOME)
        append = Append(inbox, "app1-bbbbbb", self._seq, b"x", 1 << 20, only_for=only_for, lets_into=lets_into or ())
        [result] = await self.bus.appender.append([append])
        return result

    def carry_out(self, entry_id: bytes) -> None:
        self.keeper.progress.begin()
        self.keeper.progress.reach(entry_id)

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.keeper.look()


@pytest.fixture
async def kept() -> World:
    """A home with a member in the lobby, whose account is believed."""
    world = World()
    world.members.enter("lobby")
    await world.look()
    assert world.keeper.is_kept
    return world


async def test_what_is_said_to_rooms_with_members_comes(kept: World) -> None:
    assert await kept.reaches("lobby")
    assert not await kept.reaches("garden")


async def test_an_empty_room_goes_at_the_second_look(kept: World) -> None:
    kept.members.leave("lobby")
    await kept.look()
    assert await kept.reaches("lobby")
    await kept.look()
    assert not await kept.reaches("lobby")


async def test_a_room_that_has_members_again_stays(kept: World) -> None:
    kept.members.leave("lobby")
    await kept.look()
    kept.members.enter("lobby")
    await kept.look(3)
    assert await kept.reaches("lobby")


async def test_a_room_that_somebody_is_about_to_enter_stays(kept: World) -> None:
    kept.members.leave("lobby")
    entry = await kept.join("lobby")
    await kept.look(3)
    assert await kept.reaches("lobby")
    kept.members.enter("lobby")
    kept.members.leave("lobby")
    kept.carry_out(entry)
    await kept.look(2)
    assert not await kept.reaches("lobby")


async def test_while_an_entry_is_under_way_nothing_goes(kept: World) -> None:
    entry = await kept.join("garden")
    kept.keeper.progress.begin()
    kept.members.enter("garden")
    kept.members.leave("garden")
    kept.members.leave("lobby")
    await kept.look(5)
    assert await kept.reaches("lobby")
    assert await kept.reaches("garden")
    kept.keeper.progress.reach(entry)
    await kept.look()
    assert not await kept.reaches("lobby")
    assert not await kept.reaches("garden")


async def test_a_room_that_nobody_noted_is_noted_here(kept: World) -> None:
    """A program of an older release has let a client in."""
    kept.members.enter("garden")
    assert not await kept.reaches("garden")
    await kept.look()
    assert await kept.reaches("garden")


async def test_it_begins_once_the_inbox_is_carried_out() -> None:
    world = World()
    entry = await world.join("garden")  # nobody noted it
    beginning = asyncio.create_task(world.keeper.look())
    await asyncio.sleep(0.1)
    assert await world.reaches("cellar"), "it is believed already"
    world.members.enter("garden")
    world.carry_out(entry)
    await beginning
    assert await world.reaches("garden")
    assert not await world.reaches("cellar")


async def test_with_an_older_node_in_the_cluster_it_is_given_up(kept: World) -> None:
    kept.level = INTEREST_LEVEL - 1
    await kept.look()
    assert await kept.reaches("garden")
    assert not kept.keeper.is_kept
    kept.members.enter("garden")
    kept.level = INTEREST_LEVEL
    await kept.look()
    assert await kept.reaches("garden")
    assert not await kept.reaches("cellar")


async def test_it_is_not_begun_before_the_level_is_known() -> None:
    world = World()
    world.level = 0
    await world.look(3)
    assert await world.reaches("garden")


async def test_while_rooms_of_a_client_are_unknown_it_is_given_up(kept: World) -> None:
    kept.members.knows_all_rooms = False
    await kept.look()
    assert await kept.reaches("garden")
    kept.members.knows_all_rooms = True
    await kept.look()
    assert not await kept.reaches("garden")


async def test_who_is_unknown_soon_after_its_rooms_were_empty_still_has_them(kept: World) -> None:
    """A client ends its former connection for good while it claims its session back elsewhere."""
    kept.members.leave("lobby")
    await kept.look()
    kept.members.knows_all_rooms = False
    await kept.look()
    assert await kept.reaches("lobby")


async def test_one_that_redis_has_lost_is_begun_anew(kept: World) -> None:
    await kept.bus.interest.give_up(HOME)
    await kept.look(20)
    assert kept.keeper.is_kept
    assert await kept.reaches("lobby")
    assert not await kept.reaches("garden")


async def test_many_rooms_are_said_in_turns(kept: World) -> None:
    for number in range(2_500):
        kept.members.enter(number)
    await kept.look()
    assert await kept.reaches(0)
    assert await kept.reaches(2_499)
    for number in range(2_500):
        kept.members.leave(number)
    await kept.look(2)
    assert not any([await kept.reaches(number) for number in (0, 1_000, 2_499)])
    assert await kept.reaches("lobby")


async def test_many_rooms_at_the_beginning() -> None:
    world = World()
    for number in range(2_500):
        world.members.enter(number)
    await world.look()
    assert all([await world.reaches(number) for number in (0, 1_000, 2_499)])
    assert not await world.reaches("lobby")


async def test_what_could_not_be_said_is_said_later(kept: World) -> None:
    kept.members.enter("garden")
    kept.members.leave("lobby")
    kept.broker.go_down()
    for _ in range(2):
        with pytest.raises(BusUnavailable):
            await kept.look()
    kept.broker.come_back()
    await kept.look(2)
    assert await kept.reaches("garden")
    assert not await kept.reaches("lobby")


async def test_it_looks_by_itself() -> None:
    world = World(look_s=0.01)
    running = asyncio.create_task(world.keeper.run())
    async with asyncio.timeout(10):
        while await world.reaches("garden"):
            await asyncio.sleep(0.01)
        world.members.enter("garden")
        while not await world.reaches("garden"):
            await asyncio.sleep(0.01)
    running.cancel()
