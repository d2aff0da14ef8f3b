"""What stands in Redis about homes and claims after a crash."""

from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.api.inboxes import RoomOp
from sio_cluster.streams.api.records import Claim, ClaimRefused, Ended
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import Valkey

from .real_server import IO1, LONG_MS
from .redis_home import HANDSHAKE, HASH, IO2, OTHER, SID, fail_at, ids, keys_of_home, opened, room_index

pytestmark = pytest.mark.slow


class TestCrash:
    @pytest.mark.parametrize("number", [1, 2, 3])
    @pytest.mark.parametrize("lost_answer", [False, True])
    async def test_a_claim_that_was_cut_off_is_found_again(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch, number: int, lost_answer: bool
    ) -> None:
        """Its io-node may die now. Then its burial must find the client, and the home must stay."""
        await opened(bus, SID)
        with monkeypatch.context() as patch:
            fail_at(bus, patch, number, lost_answer=lost_answer)
            with pytest.raises(BusUnavailable):
                await bus.records.claim(SID, "/", HASH, IO2)
        is_claimed = number == 3 or (number == 2 and lost_answer)
        assert await bus.records.clients_of(IO2) == ([(SID, 1)] if is_claimed else [])
        assert await bus.records.clients_of(IO1) == ([] if is_claimed else [(SID, 0)])
        await bus.homes.park(IO1, 100)
        assert not await bus.homes.end(IO1)
        claimed = await bus.records.claim(SID, "/", HASH, IO2)
        assert isinstance(claimed, Claim)
        assert await bus.homes.absent(IO1) == [SID]
        assert await bus.records.clients_of(IO2) == [(SID, 1 + is_claimed)]
        await bus.records.forget([Ended(SID, claimed.generation)])
        assert await bus.homes.end(IO1)
        assert await keys_of_home(bus) == set()

    @pytest.mark.parametrize("number", [1, 2, 3])
    @pytest.mark.parametrize("lost_answer", [False, True])
    async def test_a_client_that_goes_in_a_crash(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch, number: int, lost_answer: bool
    ) -> None:
        await opened(bus, SID)
        with monkeypatch.context() as patch:
            fail_at(bus, patch, number, lost_answer=lost_answer)
            with pytest.raises(BusUnavailable):
                await bus.records.forget([Ended(SID, 0, LONG_MS)])
        await bus.homes.park(IO1, 100)
        assert not await bus.homes.end(IO1)
        record = await bus.records.load(SID)
        assert record is not None
        assert record.away is (number == 3 or (number == 2 and lost_answer))
        await bus.records.forget([Ended(SID, 0, LONG_MS)])
        assert await bus.records.away(IO1) == 1
        assert await bus.records.clients_of(IO1) == []
        await bus.records.forget([Ended(SID)])
        assert await bus.homes.end(IO1)
        assert await room_index(bus) == []

    @pytest.mark.parametrize("claimed_by", [None, IO1, IO2])
    async def test_who_stands_in_the_list_and_is_not_away_is_left_there(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch, claimed_by: str | None
    ) -> None:
        """As after a crash in the midst of a disconnect, or of a claim."""
        await opened(bus, SID)
        if claimed_by is not None:
            await bus.records.claim(SID, "/", HASH, claimed_by)
        await bus.connections.run(("ZADD", bus.keys.away(IO1), 1, SID))
        assert await bus.records.away(IO1) == (claimed_by == IO2)
        assert await bus.homes.absent(IO1) == ([SID] if claimed_by == IO2 else [])
        record = await bus.records.load(SID)
        assert record is not None
        assert not record.away

    @pytest.mark.parametrize("goes", [True, False])
    async def test_who_comes_back_to_the_same_io_node_meanwhile_stays_on_its_list(
        self, server: Valkey, bus: RedisBus, monkeypatch: pytest.MonkeyPatch, goes: bool
    ) -> None:
        """Between two steps of the one who takes it off the list: else the burial of that io-node would not find it."""
        await opened(bus, SID)
        other, run, calls = RedisBus(Config(REDIS_URL=server.url)), bus.connections.run, 0

        async def slow(*commands: Any) -> Any:
            nonlocal calls
            calls += bool(commands)
            if calls == 3 and commands:
                assert isinstance(await other.records.claim(SID, "/", HASH, IO1), Claim)
                calls += 1
            return await run(*commands)

        monkeypatch.setattr(bus.connections, "run", slow)
        if goes:
            await bus.records.forget([Ended(SID, 0, LONG_MS)])
        else:
            await bus.records.claim(SID, "/", HASH, IO2)
        assert calls >= 4
        assert await bus.records.clients_of(IO1) == [(SID, 1 if goes else 2)]
        await other.stop()

    async def test_who_was_listed_too_early_stays_for_its_time(self, bus: RedisBus) -> None:
        await opened(bus, SID)
        await bus.records.forget([Ended(SID, 0, LONG_MS)])
        client = bus.keys.client(lane_of(SID, 16), SID)
        await bus.connections.run(("ZADD", bus.keys.away(IO1), 1, SID))  # as if it had come back and gone once more
        assert await bus.records.away(IO1) == 1
        ends, listed = await bus.connections.run(("HGET", client, "away"), ("ZSCORE", bus.keys.away(IO1), SID))
        assert ends == listed
        assert await bus.records.load(SID) is not None

    async def test_traces_of_a_client_that_is_gone_do_not_keep_a_home(self, bus: RedisBus) -> None:
        reader = await opened(bus, SID, OTHER)
        await reader.forget_log((await ids(bus))[0], [RoomOp(SID, "x", True), RoomOp(OTHER, "x", True)])
        await bus.records.forget([Ended(OTHER, 0, LONG_MS)])
        clients = [bus.keys.client(lane_of(sid, 16), sid) for sid in (SID, OTHER)]
        await bus.connections.run(("DEL", *clients))
        await bus.homes.park(IO1, 100)
        assert await bus.homes.end(IO1)
        assert await keys_of_home(bus) == set()

    @pytest.mark.parametrize("fate", ["gone", "away", "elsewhere"])
    async def test_whom_an_io_node_held_before_a_crash_does_not_keep_its_home(self, bus: RedisBus, fate: str) -> None:
        """Its clients are of another home. A crash had left one of them on its list."""
        await bus.homes.park(IO1, 100)
        sid = f"{IO2}.{1:016d}"
        await bus.homes.park(IO2, 100)
        await bus.records.store([ClientConnected(sid, "c", "/", None, HANDSHAKE, "polling", HASH)])
        await bus.connections.run(("SADD", bus.keys.clients(IO1), sid))
        if fate != "elsewhere":
            await bus.records.forget([Ended(sid, 0, LONG_MS if fate == "away" else 0)])
        assert await bus.homes.end(IO1)
        assert await keys_of_home(bus) == set()
        assert await bus.records.clients_of(IO2) == ([(sid, 0)] if fate == "elsewhere" else [])

    async def test_a_claim_that_is_refused_leaves_nothing(self, bus: RedisBus) -> None:
        await bus.records.store([ClientConnected(SID, "c", "/", None, HANDSHAKE, "polling", HASH)])
        assert await bus.records.claim(SID, "/", HASH, IO2) is ClaimRefused.PENDING
        [lists] = await bus.connections.run(("KEYS", bus.keys.clients("*")))
        assert lists == [bus.keys.clients(IO1).encode()]

    async def test_an_io_node_that_is_unregistered_leaves_nothing(self, bus: RedisBus) -> None:
        reader = await opened(bus, SID, OTHER)
        await reader.forget_log((await ids(bus))[0], [RoomOp(SID, "x", True), RoomOp(OTHER, "x", True)])
        await bus.records.forget([Ended(OTHER, 0, LONG_MS)])
        await bus.registry.unregister_io_node(IO1)
        assert await keys_of_home(bus) == set()
