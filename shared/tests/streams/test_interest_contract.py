"""In which rooms homes have members, in memory and in Valkey alike: never too few rooms, whoever appends, whenever."""

import asyncio
import random
from collections.abc import Collection
from dataclasses import replace

import pytest

from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.appends import Append, AppendResult, Commit, Flushed
from sio_cluster.streams.api.interest import MOST_ROOMS
from sio_cluster.testing.contract import Cluster, read_bodies

from .holding import APP1, APP2, IO1, lane_writer, take

APPENDED, DUPLICATE, NOBODY = AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.NOBODY
BARRED = AppendResult.BARRED


class Sender:
    """Appends to the inbox of IO1 as one app-node."""

    def __init__(self, cluster: Cluster, node_id: str = APP1) -> None:
        self.appender = cluster.appender()
        self.seq = 0
        self._first = Append(cluster.keys.inbox(IO1), node_id, 0, b"", 1 << 20)

    def emit(self, *rooms: Room) -> Append:
        self.seq += 1
        return replace(self._first, seq=self.seq, entry=b"emit", only_for=rooms)

    def join(self, *rooms: Room) -> Append:
        self.seq += 1
        return replace(self._first, seq=self.seq, entry=b"join", lets_into=rooms)

    async def send(self, append: Append) -> AppendResult:
        [result] = await self.appender.append([append])
        return result


async def begun(cluster: Cluster, members: Collection[Room] = (), token: str = "token") -> None:
    """An account that is believed."""
    interest = cluster.interest()
    await interest.begin(IO1, token)
    assert await interest.keep(IO1, token, members=list(members))
    assert await interest.believe(IO1, token)


class TestAppends:
    async def test_without_an_account_all_is_appended(self, cluster: Cluster) -> None:
        assert await Sender(cluster).send(Sender(cluster).emit("lobby")) is APPENDED

    async def test_an_account_that_is_not_believed_yet_is_not_looked_at(self, cluster: Cluster) -> None:
        await cluster.interest().begin(IO1, "token")
        sender = Sender(cluster)
        assert await sender.send(sender.emit("lobby")) is APPENDED

    async def test_what_is_for_rooms_without_members_is_not_appended(self, cluster: Cluster) -> None:
        await begun(cluster, ["lobby", 42])
        reader, sender = cluster.inbox_reader(IO1, keeps_log=True), Sender(cluster)
        assert await sender.send(sender.emit("garden")) is NOBODY
        assert await sender.send(sender.emit("garden", "cellar")) is NOBODY
        assert await sender.send(sender.emit("42")) is NOBODY
        assert await sender.send(sender.emit()) is NOBODY
        assert await sender.appender.held_bytes([cluster.keys.inbox(IO1)]) == [0]
        assert await sender.send(sender.emit("garden", "lobby")) is APPENDED
        assert await sender.send(sender.emit(42)) is APPENDED
        assert await read_bodies(reader, 0) == [b"emit", b"emit"]

    async def test_what_is_for_the_home_is_appended(self, cluster: Cluster) -> None:
        await begun(cluster)
        sender = Sender(cluster)
        assert await sender.send(replace(sender.emit(), only_for=None)) is APPENDED

    async def test_a_room_is_noted_with_the_entry_by_which_it_is_entered(self, cluster: Cluster) -> None:
        await begun(cluster)
        sender, other = Sender(cluster), Sender(cluster, APP2)
        assert await other.send(other.emit("lobby")) is NOBODY
        assert await sender.send(sender.join("lobby", 7)) is APPENDED
        assert await other.send(other.emit("lobby")) is APPENDED
        assert await other.send(other.emit(7)) is APPENDED
        assert await other.send(other.emit("7")) is NOBODY

    async def test_what_was_appended_is_a_duplicate_and_no_emit_to_nobody(self, cluster: Cluster) -> None:
        sender = Sender(cluster)
        emit = sender.emit("lobby")
        assert await sender.send(emit) is APPENDED
        await begun(cluster)
        assert await sender.send(emit) is DUPLICATE

    async def test_what_concerned_nobody_is_appended_where_it_is_tried_again_and_does_now(
        self, cluster: Cluster
    ) -> None:
        await begun(cluster)
        sender, other = Sender(cluster), Sender(cluster, APP2)
        emit = sender.emit("lobby")
        assert await sender.send(emit) is NOBODY
        await other.send(other.join("lobby"))
        assert await sender.send(emit) is APPENDED

    async def test_who_is_barred_hears_that_first(self, cluster: Cluster) -> None:
        await begun(cluster)
        sender = Sender(cluster)
        assert await sender.send(replace(sender.emit("lobby"), bar=1)) is BARRED

    async def test_nothing_is_noted_of_what_is_not_appended(self, cluster: Cluster) -> None:
        await begun(cluster)
        sender = Sender(cluster)
        assert await sender.send(replace(sender.join("lobby"), bar=1)) is BARRED
        assert await sender.send(sender.emit("lobby")) is NOBODY

    async def test_a_full_inbox_does_not_stop_what_concerns_nobody(self, cluster: Cluster) -> None:
        await begun(cluster)
        sender = Sender(cluster)
        await sender.send(sender.join("lobby"))
        assert await sender.send(replace(sender.emit("lobby"), max_bytes=5)) is AppendResult.FULL
        assert await sender.send(replace(sender.emit("garden"), max_bytes=5)) is NOBODY

    async def test_a_flush_commits_what_is_done_though_some_concerns_nobody(self, cluster: Cluster) -> None:
        await begun(cluster, ["lobby"])
        reader, lease, _ = await take(cluster, APP1, 0)
        await lane_writer(cluster, 0).write(b"event")
        [event] = await reader.read([0], 0, 10)
        sender = Sender(cluster)
        other = Append(cluster.keys.inbox("io2-bbbbbb"), APP1, 1, b"emit", 1 << 20, only_for=["garden"])
        done = [Commit(lease, [event.id], len(event.entry))]
        flushed = await sender.appender.flush([sender.emit("garden"), other], done)
        assert flushed == Flushed([], [NOBODY, APPENDED], committed=True)
        assert await reader.peek(0) == []
        flushed = await sender.appender.flush([sender.join("a", "b"), replace(other, seq=2)], [])
        assert flushed.appends == [APPENDED, APPENDED]
        assert await sender.send(sender.emit("b")) is APPENDED


class TestAccount:
    async def test_it_is_begun_anew_in_place_of_another(self, cluster: Cluster) -> None:
        await begun(cluster, ["lobby"], "old")
        interest, sender = cluster.interest(), Sender(cluster)
        await interest.begin(IO1, "new")
        assert await sender.send(sender.emit("garden")) is APPENDED
        assert not await interest.keep(IO1, "old", members=["garden"])
        assert not await interest.believe(IO1, "old")
        assert await interest.believe(IO1, "new")
        assert await sender.send(sender.emit("lobby")) is NOBODY

    async def test_it_says_up_to_where_nothing_was_noted(self, cluster: Cluster) -> None:
        reader, sender, interest = cluster.inbox_reader(IO1, keeps_log=True), Sender(cluster), cluster.interest()
        assert await interest.begin(IO1, "token") == b"0-0"
        await sender.send(sender.join("lobby"))
        await sender.send(sender.join("garden"))
        last = await interest.begin(IO1, "token")
        entries = await reader.read(0)
        assert last == entries[-1].id

    async def test_an_empty_room_is_taken_out_once_all_who_entered_are_known(self, cluster: Cluster) -> None:
        reader, sender, interest = cluster.inbox_reader(IO1, keeps_log=True), Sender(cluster), cluster.interest()
        await reader.read(0)
        await begun(cluster, ["cellar"])
        for _ in range(3):
            await sender.send(sender.join("lobby"))
        first, second, third = [entry.id for entry in await reader.read(0)]
        assert await interest.keep(IO1, "token", empty=["lobby", "cellar"], up_to=second)
        assert await sender.send(sender.emit("cellar")) is NOBODY
        assert await sender.send(sender.emit("lobby")) is APPENDED
        assert await interest.keep(IO1, "token", empty=["lobby"], up_to=first)
        assert await sender.send(sender.emit("lobby")) is APPENDED
        assert await interest.keep(IO1, "token", empty=["lobby"], up_to=third)
        assert await sender.send(sender.emit("lobby")) is NOBODY

    async def test_a_room_that_is_noted_keeps_its_last_entry(self, cluster: Cluster) -> None:
        await begun(cluster)
        sender, interest = Sender(cluster), cluster.interest()
        await sender.send(sender.join("lobby"))
        assert await interest.keep(IO1, "token", members=["lobby"])
        assert await interest.keep(IO1, "token", empty=["lobby"])
        assert await sender.send(sender.emit("lobby")) is APPENDED

    async def test_one_that_was_given_up_is_not_looked_at(self, cluster: Cluster) -> None:
        await begun(cluster)
        sender, interest = Sender(cluster), cluster.interest()
        await interest.give_up(IO1)
        assert await sender.send(sender.emit("lobby")) is APPENDED
        assert not await interest.keep(IO1, "token", members=["lobby"])
        assert not await interest.believe(IO1, "token")

    async def test_it_goes_with_its_node(self, cluster: Cluster) -> None:
        await begun(cluster)
        await cluster.registry().unregister_io_node(IO1)
        sender = Sender(cluster)
        assert await sender.send(sender.emit("lobby")) is APPENDED

    async def test_a_parked_home_keeps_it(self, cluster: Cluster) -> None:
        await begun(cluster, ["lobby"])
        await cluster.homes().park(IO1, 1_000)
        sender = Sender(cluster)
        assert await sender.send(sender.emit("garden")) is NOBODY
        assert await sender.send(sender.emit("lobby")) is APPENDED
        assert await sender.send(sender.join("garden")) is APPENDED
        assert await sender.send(sender.emit("garden")) is APPENDED

    async def test_too_many_rooms_in_one_call_are_refused(self, cluster: Cluster) -> None:
        interest = cluster.interest()
        await interest.begin(IO1, "token")
        with pytest.raises(ValueError, match=f"at most {MOST_ROOMS} rooms"):
            await interest.keep(IO1, "token", members=list(range(MOST_ROOMS)), empty=["one more"])
        assert await interest.keep(IO1, "token", members=list(range(MOST_ROOMS)))
        sender = Sender(cluster)
        assert await sender.send(sender.emit(*range(MOST_ROOMS))) is APPENDED


@pytest.mark.slow  # 1,500 rounds
@pytest.mark.parametrize("stalls", [False, True], ids=["reads at once", "stalls"])
async def test_whoever_emits_behind_a_join_reaches_the_member(cluster: Cluster, stalls: bool) -> None:
    """Clients enter and leave rooms through one process; another emits as soon as they are in, while the reader takes
    out what is empty. With a reader that reads at once, and with one that stands still now and then."""
    rng, rounds = random.Random(7), 1_500
    interest, reader = cluster.interest(), cluster.inbox_reader(IO1, keeps_log=True)
    inside: dict[str, int] = {}
    seen: list[int] = []
    skipped = 0
    await reader.read(0)
    await begun(cluster)

    async def read() -> None:
        """As an io-node: carries out what it reads, and says which of these rooms are empty now."""
        while True:
            entries = await reader.read(20)
            touched = set()
            for entry in entries:
                what, _, number = entry.entry.partition(b" ")
                room = f"room {int(number) % 5}"
                if what == b"join":
                    inside[room] = inside.get(room, 0) + 1
                elif what == b"leave":
                    inside[room] -= 1
                elif inside.get(room):
                    seen.append(int(number))
                touched.add(room)
            if entries:
                if stalls:
                    await asyncio.sleep(rng.choice([0, 0, 0.03]))
                empty = [room for room in touched if not inside.get(room)]
                assert await interest.keep(IO1, "token", empty=empty, up_to=entries[-1].id)

    reading = asyncio.create_task(read())
    joiner, emitter = Sender(cluster), Sender(cluster, APP2)
    try:
        for number in range(rounds):
            room = f"room {number % 5}"
            assert await joiner.send(replace(joiner.join(room), entry=b"join %d" % number)) is APPENDED
            emit = replace(emitter.emit(room), entry=b"emit %d" % number)
            assert await emitter.send(emit) is APPENDED
            await joiner.send(replace(joiner.emit(), entry=b"leave %d" % number, only_for=None))
            if number % 3 == 0:
                await asyncio.sleep(0)
                other = replace(emitter.emit(f"room {(number + 1) % 5}"), entry=b"emit %d" % (rounds + number))
                skipped += await emitter.send(other) is NOBODY
        async with asyncio.timeout(30):
            while len([number for number in seen if number < rounds]) < rounds:
                await asyncio.sleep(0.01)
    finally:
        reading.cancel()
    assert sorted(number for number in seen if number < rounds) == list(range(rounds))
    assert skipped > 0
