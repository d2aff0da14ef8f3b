"""Sessions that are claimed back, in memory and in Valkey alike."""

import asyncio

import msgspec
import pytest

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.records import (
    Accepted,
    ChangeResult,
    Claim,
    ClaimRefused,
    ClientRecord,
    Ended,
    Joined,
    Left,
    Upgraded,
)
from sio_cluster.streams.api.selections import RoomsChange, Selection
from sio_cluster.testing.contract import Cluster

from .holding import APP1, APP2, IO1, LONG_MS, acquire

IO2, IO3 = "io2-aaaaaa", "io3-aaaaaa"
SID, CLOCK = f"{IO1}.{1:016d}", f"{IO3}.{2:016d}"
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "example.org")], "192.0.2.1", 4711)
HASH = bytes(range(32))
BRIEF_MS, TIMELY_MS = 30, 500
GONE, WRONG, PENDING = ClaimRefused.GONE, ClaimRefused.WRONG, ClaimRefused.PENDING


def connected(sid: str = SID, pid_hash: bytes = HASH, holder: str = "", generation: int = 0) -> ClientConnected:
    return ClientConnected(sid, "c1", "/", b'{"token":1}', HANDSHAKE, "polling", pid_hash, holder, generation)


async def let_in(cluster: Cluster, *clients: ClientConnected) -> None:
    """Clients of a home with a log."""
    await cluster.inbox_reader(IO1, keeps_log=True).read(0)
    await cluster.records().store(clients or [connected()])
    await cluster.records().update([Accepted(client.sid) for client in clients or [connected()]])


async def pass_time(cluster: Cluster, ms: int = BRIEF_MS) -> None:
    """Until the time of whoever went away for so long is over: that of a client which goes now."""
    await cluster.inbox_reader(IO3, keeps_log=True).read(0)
    await cluster.records().store([connected(CLOCK)])
    await go(cluster, keep_ms=ms, sid=CLOCK)
    async with asyncio.timeout(10):
        while await cluster.records().away(IO3):  # Redis tells nobody
            await asyncio.sleep(0.005)


async def claim(cluster: Cluster, holder: str, sid: str = SID) -> Claim:
    """A claim that succeeds."""
    claimed = await cluster.records().claim(sid, "/", HASH, holder)
    assert isinstance(claimed, Claim)
    return claimed


async def loaded(cluster: Cluster, sid: str = SID) -> ClientRecord:
    record = await cluster.records().load(sid)
    assert record is not None
    return record


async def go(cluster: Cluster, generation: int = 0, keep_ms: int = LONG_MS, sid: str = SID) -> None:
    """It disconnects."""
    assert await cluster.records().forget([Ended(sid, generation, keep_ms)]) == 0


class TestClaim:
    async def test_who_was_away_is_here_again_with_all_that_it_had(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records = cluster.records()
        await records.save_session(SID, b"session")
        await records.update([Joined(SID, "/", 7), Upgraded(SID, "websocket")])
        await go(cluster)
        record = await loaded(cluster)
        assert (record.away, record.let_in, record.connected) == (True, None, connected())
        assert await records.clients_of(IO1) == []
        assert await claim(cluster, IO2) == Claim(connected(holder=IO2, generation=1), 1, "")
        record = await loaded(cluster)
        assert (record.session, record.rooms, record.accepted, record.away) == (b"session", {7}, True, False)
        assert record.connected == connected(holder=IO2, generation=1)
        assert await records.clients_of(IO2) == [(SID, 1)]
        assert await records.away(IO1) == 1  # elsewhere, for this home

    async def test_the_upgrade_of_a_former_connection_changes_nothing(self, cluster: Cluster) -> None:
        await let_in(cluster)
        await claim(cluster, IO2)
        records = cluster.records()
        await records.store([connected(holder=IO2, generation=1)])
        assert await records.update([Upgraded(SID, "websocket", 0)]) == [ChangeResult.GONE]
        assert (await loaded(cluster)).transport == "polling"
        assert await records.update([Upgraded(SID, "websocket", 1)]) == [ChangeResult.DONE]
        assert (await loaded(cluster)).transport == "websocket"

    async def test_who_is_still_connected_elsewhere_is_taken_over(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records = cluster.records()
        assert await claim(cluster, IO2) == Claim(connected(holder=IO2, generation=1), 1, IO1)
        assert await claim(cluster, IO3) == Claim(connected(holder=IO3, generation=2), 2, IO2)
        assert [await records.clients_of(node) for node in (IO1, IO2, IO3)] == [[], [], [(SID, 2)]]
        assert await records.away(IO1) == 1
        assert await claim(cluster, IO1) == Claim(connected(generation=3), 3, IO3)
        assert await records.clients_of(IO1) == [(SID, 3)]
        assert await records.away(IO1) == 0
        assert await claim(cluster, IO1) == Claim(connected(generation=4), 4, IO1)
        assert await records.clients_of(IO1) == [(SID, 4)]

    async def test_two_that_claim_at_once_get_generations_of_their_own(self, cluster: Cluster) -> None:
        await let_in(cluster)
        await go(cluster)
        first, second = await asyncio.gather(claim(cluster, IO2), claim(cluster, IO3))
        assert {first.generation, second.generation} == {1, 2}
        last = IO2 if first.generation == 2 else IO3
        holders = {node: await cluster.records().clients_of(node) for node in (IO1, IO2, IO3)}
        assert holders == {IO1: [], IO2: [], IO3: []} | {last: [(SID, 2)]}

    @pytest.mark.parametrize("shown", [b"", b"\x00" * 32, HASH[:-1], HASH + b"\x00", HASH[:-1] + b"\x00"])
    async def test_another_secret_is_refused_and_changes_nothing(self, cluster: Cluster, shown: bytes) -> None:
        await let_in(cluster)
        records = cluster.records()
        for away in (False, True):
            assert await records.claim(SID, "/", shown, IO2) is WRONG
            assert (await loaded(cluster)).connected == connected()
            assert await records.clients_of(IO2) == []
            assert (await loaded(cluster)).away is away
            await go(cluster)

    async def test_another_namespace_is_refused(self, cluster: Cluster) -> None:
        await let_in(cluster)
        assert await cluster.records().claim(SID, "/chat", HASH, IO2) is WRONG

    async def test_a_client_without_a_pid_cannot_be_claimed(self, cluster: Cluster) -> None:
        await let_in(cluster, connected(pid_hash=b""))
        for shown in (b"", HASH):
            assert await cluster.records().claim(SID, "/", shown, IO2) is GONE

    async def test_who_was_not_let_in_is_refused(self, cluster: Cluster) -> None:
        await cluster.records().store([connected()])
        assert await cluster.records().claim(SID, "/", HASH, IO2) is PENDING

    async def test_who_is_not_known_or_gone_for_good_is_refused(self, cluster: Cluster) -> None:
        records = cluster.records()
        assert await records.claim(SID, "/", HASH, IO2) is GONE
        await let_in(cluster)
        await go(cluster, keep_ms=0)
        assert await records.claim(SID, "/", HASH, IO2) is GONE
        assert await records.load(SID) is None

    async def test_it_comes_too_late(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records = cluster.records()
        await go(cluster, keep_ms=BRIEF_MS)
        await pass_time(cluster)
        assert await records.claim(SID, "/", HASH, IO2) is GONE
        assert await records.away(IO1) == 0
        assert await records.load(SID) is None

    async def test_who_came_back_in_time_stays(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records = cluster.records()
        await go(cluster, keep_ms=TIMELY_MS)
        await claim(cluster, IO2)
        await pass_time(cluster, TIMELY_MS)
        assert await records.away(IO1) == 1
        assert not (await loaded(cluster)).away
        await claim(cluster, IO1)
        assert await records.away(IO1) == 0
        assert await records.clients_of(IO1) == [(SID, 2)]


class TestRenounce:
    async def test_nobody_may_claim_it_any_more(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records = cluster.records()
        await claim(cluster, IO2)
        await records.renounce([(SID, 0), (f"{IO1}.{9:016d}", 7)])  # the one has come back, the other is unknown
        await claim(cluster, IO3)
        for _ in range(2):
            await records.renounce([(SID, 2)])
            await records.store([connected(holder=IO3, generation=2)])  # as of an answer that was lost
            assert await records.claim(SID, "/", HASH, IO2) is GONE
        record = await loaded(cluster)
        assert (record.away, record.connected.generation) == (False, 2)
        assert await records.clients_of(IO3) == [(SID, 2)]
        await go(cluster, 2, keep_ms=0)
        assert await records.load(SID) is None


class TestStore:
    async def test_the_connect_of_a_claim_keeps_what_the_record_had(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records = cluster.records()
        await records.save_session(SID, b"session")
        await records.update([Joined(SID, "/", "x")])
        await claim(cluster, IO2)
        anew = msgspec.structs.replace(connected(holder=IO2, generation=1), auth=None, transport="websocket")
        for _ in range(2):
            await records.store([anew])
            record = await loaded(cluster)
            assert (record.connected, record.transport) == (anew, "websocket")
            assert (record.session, record.rooms, record.accepted, record.let_in) == (b"session", {"x"}, True, 0)
        assert await records.clients_of(IO2) == [(SID, 1)]
        assert await claim(cluster, IO3) == Claim(
            msgspec.structs.replace(anew, holder=IO3, generation=2), 2, IO2
        )  # its pid is the same

    async def test_the_connect_of_an_older_connection_changes_nothing(self, cluster: Cluster) -> None:
        await let_in(cluster)
        await claim(cluster, IO2)
        late = msgspec.structs.replace(connected(), transport="websocket")
        await cluster.records().store([late])
        record = await loaded(cluster)
        assert (record.connected.generation, record.connected.holder, record.transport) == (1, IO2, "polling")
        assert await cluster.records().clients_of(IO1) == []
        assert await cluster.records().clients_of(IO2) == [(SID, 1)]

    async def test_one_held_elsewhere_is_stored_anew_after_redis_lost_its_data(self, cluster: Cluster) -> None:
        await cluster.inbox_reader(IO1, keeps_log=True).read(0)
        records = cluster.records()
        await records.store([connected(holder=IO2, generation=3)])
        assert await records.clients_of(IO2) == [(SID, 3)]
        assert await records.away(IO1) == 1
        assert await records.clients_of(IO1) == []


class TestForget:
    async def test_an_older_generation_ends_nothing_of_a_later_one(self, cluster: Cluster) -> None:
        await let_in(cluster)
        await claim(cluster, IO2)
        records = cluster.records()
        for keep_ms in (0, BRIEF_MS):
            await go(cluster, 0, keep_ms)
            record = await loaded(cluster)
            assert (record.away, record.connected.generation, record.let_in) == (False, 1, None)
        await pass_time(cluster)
        assert await records.away(IO1) == 1  # held elsewhere, and no more
        assert await records.clients_of(IO2) == [(SID, 1)]
        await go(cluster, 1)
        assert (await loaded(cluster)).away
        assert await records.clients_of(IO2) == []

    async def test_what_the_application_has_let_in(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records = cluster.records()
        assert (await loaded(cluster)).let_in == 0
        await claim(cluster, IO2)
        assert (await loaded(cluster)).let_in == 0
        assert await records.update([Accepted(SID, 1)]) == [ChangeResult.DONE]
        await go(cluster, 0)
        assert (await loaded(cluster)).let_in == 1
        await go(cluster, 1)
        record = await loaded(cluster)
        assert (record.let_in, record.accepted) == (None, True)

    async def test_a_lost_lease_forgets_nobody_and_keeps_nobody(self, cluster: Cluster) -> None:
        await let_in(cluster)
        leases, records = cluster.leases(), cluster.records()
        ours = await acquire(leases, lane_of(SID, cluster.config.lanes), APP1)
        await leases.release(ours)
        await acquire(leases, ours.lane, APP2)
        for keep_ms in (0, BRIEF_MS):
            assert await records.forget([Ended(SID, 0, keep_ms)], [ours]) == 1
        assert await records.update([Accepted(SID, 5)], [ours]) == [ChangeResult.FENCED]
        record = await loaded(cluster)
        assert (record.away, record.let_in) == (False, 0)
        assert await records.clients_of(IO1) == [(SID, 0)]
        await pass_time(cluster)
        assert await records.away(IO1) == 0
        assert await records.clients_of(IO1) == [(SID, 0)]

    async def test_repeating_it_prolongs_it(self, cluster: Cluster) -> None:
        await let_in(cluster)
        for _ in range(2):
            await go(cluster)
        assert await cluster.records().away(IO1) == 1
        for _ in range(2):
            await go(cluster, keep_ms=0)
        assert await cluster.records().away(IO1) == 0
        assert await cluster.records().load(SID) is None

    async def test_who_is_gone_does_not_come_back_by_it(self, cluster: Cluster) -> None:
        await let_in(cluster)
        await go(cluster, keep_ms=0)
        await go(cluster)
        assert await cluster.records().load(SID) is None
        assert await cluster.records().away(IO1) == 0
        assert await cluster.homes().absent(IO1) == []

    async def test_a_client_without_a_home_is_gone_for_good(self, cluster: Cluster) -> None:
        await cluster.records().store([connected()])
        await go(cluster)
        assert await cluster.records().load(SID) is None
        assert await cluster.records().away(IO1) == 0


class TestAway:
    async def test_who_is_away_stays_in_its_rooms(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records = cluster.records()
        await records.update([Joined(SID, "/", "x"), Joined(SID, "/", "y")])
        await go(cluster)
        assert await records.save_session(SID, b"while it is away")
        assert await records.update([Left(SID, "/", "y"), Joined(SID, "/", "z")]) == [ChangeResult.DONE] * 2
        assert (await loaded(cluster)).rooms == {"x", "z"}
        leave = RoomsChange(("x",), inside=False)
        assert (await cluster.selections().change(Selection("/", ("x",)), [SID], leave)).away == [SID]
        await claim(cluster, IO2)
        record = await loaded(cluster)
        assert (record.rooms, record.session) == ({"z"}, b"while it is away")

    async def test_those_whose_time_is_over_are_forgotten_and_the_others_stay(self, cluster: Cluster) -> None:
        clients = [connected(f"{IO1}.{number:016d}") for number in range(12)]
        await let_in(cluster, *clients)
        records, sids = cluster.records(), [client.sid for client in clients]
        await records.update([Joined(sid, "/", "x") for sid in sids])
        await records.forget(
            [Ended(sid, 0, BRIEF_MS) for sid in sids[:6]] + [Ended(sid, 0, LONG_MS) for sid in sids[6:]]
        )
        await pass_time(cluster)
        for _ in range(2):
            assert await records.away(IO1) == 6
        assert [await records.load(sid) is not None for sid in sids] == [False] * 6 + [True] * 6
        assert sorted(await cluster.homes().absent(IO1)) == sids[6:]
        assert await records.away(IO2) == 0


class TestOverdue:
    """Clients of whose disconnect the application is told only when their time is over."""

    async def test_they_stay_until_the_application_was_told(self, cluster: Cluster) -> None:
        clients = [connected(f"{IO1}.{number:016d}") for number in range(3)]
        await let_in(cluster, *clients)
        records, [late, later, told] = cluster.records(), [client.sid for client in clients]
        await records.forget(
            [Ended(late, 0, BRIEF_MS, "ping timeout"), Ended(later, 0, LONG_MS, "x"), Ended(told, 0, BRIEF_MS)]
        )
        assert await records.overdue(IO1) == []
        assert (await loaded(cluster, late)).let_in == 0
        assert (await loaded(cluster, told)).let_in is None
        await pass_time(cluster)
        for _ in range(2):
            assert await records.away(IO1) == 2
            assert await records.overdue(IO1) == [(late, 0, "ping timeout")]
        assert await records.load(told) is None
        assert await records.claim(late, "/", HASH, IO2) is GONE
        assert sorted(await cluster.homes().absent(IO1)) == [late, later]
        await records.forget([Ended(late)])
        assert await records.overdue(IO1) == []
        assert await records.away(IO1) == 1
        assert await records.overdue(IO2) == []

    async def test_who_came_back_in_time_is_not_one(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records = cluster.records()
        await records.forget([Ended(SID, 0, TIMELY_MS, "ping timeout")])
        await claim(cluster, IO2)
        await records.forget([Ended(SID, 0, TIMELY_MS, "ping timeout")])  # as of an answer that was lost
        assert (await loaded(cluster)).let_in == 0
        await pass_time(cluster, TIMELY_MS)
        assert await records.overdue(IO1) == []
        await go(cluster, 1, keep_ms=BRIEF_MS)
        await pass_time(cluster)
        assert await records.overdue(IO1) == []
        assert await records.away(IO1) == 0

    async def test_one_whose_end_was_told_is_not_one(self, cluster: Cluster) -> None:
        await let_in(cluster)
        await go(cluster)
        records = cluster.records()
        await records.forget([Ended(SID, 0, BRIEF_MS, "ping timeout")])
        await pass_time(cluster)
        assert await records.overdue(IO1) == []
        assert await records.away(IO1) == 0
        assert await records.load(SID) is None

    async def test_a_home_waits_for_them(self, cluster: Cluster) -> None:
        await let_in(cluster)
        records, homes = cluster.records(), cluster.homes()
        await records.forget([Ended(SID, 0, BRIEF_MS, "node lost")])
        await homes.park(IO1, 100)
        await pass_time(cluster)
        assert await records.away(IO1) == 1
        assert not await homes.end(IO1)
        await records.forget([Ended(SID)])
        assert await homes.end(IO1)
