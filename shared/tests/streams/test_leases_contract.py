"""Leases, in memory and in Valkey alike: a lane has one holder at a time, and former ones are barred."""

from dataclasses import replace

from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.api.leases import Lease
from sio_cluster.testing.contract import Cluster, read_bodies

from .holding import APP1, APP2, IO1, LONG_MS, acquire, take, take_when_free

APPENDED, DUPLICATE, FULL = AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.FULL
BARRED = AppendResult.BARRED


class TestLeases:
    async def test_one_holder_at_a_time(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        lease = await acquire(leases, 3, APP1)
        assert await leases.acquire(3, APP2, LONG_MS) is None
        assert await leases.acquire(4, APP2, LONG_MS) is not None
        await leases.release(replace(lease, node_id=APP2))
        await leases.release(replace(lease, token=lease.token + 1))
        assert await leases.acquire(3, APP2, LONG_MS) is None
        await leases.release(lease)
        later = await acquire(leases, 3, APP2)
        assert later.token > lease.token

    async def test_renew_tells_what_is_still_ours(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        ours, given_back, old = [await acquire(leases, lane, APP1) for lane in (0, 1, 2)]
        await leases.release(given_back)
        await leases.acquire(1, APP2, LONG_MS)
        former = replace(old, token=old.token - 1)
        assert await leases.renew([ours, given_back, former, Lease(5, APP1, 1)], LONG_MS) == {0}
        assert await leases.renew([], LONG_MS) == set()

    async def test_a_renewed_lease_outlives_its_first_term(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        short = await acquire(leases, 0, APP1, 100)
        long = await acquire(leases, 1, APP1, 100)
        assert await leases.renew([long], LONG_MS) == {1}
        await take_when_free(cluster, APP2, 0)
        assert await leases.acquire(1, APP2, LONG_MS) is None
        assert await leases.renew([short, long], LONG_MS) == {1}


class TestFencing:
    """A process that was paused wakes up with an append half sent. By then its lane has another holder."""

    async def test_a_former_holder_is_barred_until_it_knows(self, cluster: Cluster) -> None:
        registry, leases, appender = cluster.registry(), cluster.leases(), cluster.appender()
        await registry.register_io_node(IO1, {})
        inbox = cluster.keys.inbox(IO1)
        await take(cluster, APP1, lease_ms=50)
        assert await appender.append([Append(inbox, APP1, 1, b"a", 1000)]) == [APPENDED]
        _, lease, _ = await take_when_free(cluster, APP2)
        assert await leases.bar_former([lease]) == {APP1}
        assert await appender.append([Append(inbox, APP1, 1, b"a", 1000)]) == [DUPLICATE]
        assert await appender.append([Append(inbox, APP1, 2, b"late", 1000)]) == [BARRED]
        assert await appender.append([Append(inbox, APP2, 1, b"b", 1000)]) == [APPENDED]
        assert await appender.bars([inbox], APP1) == [1]
        assert await appender.append([Append(inbox, APP1, 2, b"c", 1000, 1)]) == [APPENDED]
        assert await appender.append([Append(inbox, APP1, 3, b"late", 1000)]) == [BARRED]
        assert await read_bodies(cluster.inbox_reader(IO1), 0) == [b"a", b"b", b"c"]
        assert await leases.bar_former([lease]) == set()

    async def test_one_that_released_is_not_barred(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        _, lease, _ = await take(cluster, APP1)
        await leases.release(lease)
        _, lease, _ = await take(cluster, APP2)
        assert await leases.bar_former([lease]) == set()

    async def test_one_whose_handlers_were_late_is(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        _, lease, _ = await take(cluster, APP1)
        await leases.release(lease, settled=False)
        _, lease, _ = await take(cluster, APP2)
        assert await leases.bar_former([lease]) == {APP1}

    async def test_a_holder_that_dies_before_it_bars_leaves_that_to_the_next(self, cluster: Cluster) -> None:
        await take(cluster, APP1, lease_ms=50)
        await take_when_free(cluster, APP2)
        _, lease, _ = await take(cluster, APP2, lease_ms=50)
        third = "app-cccccc"
        _, lease, _ = await take_when_free(cluster, third)
        assert await cluster.leases().bar_former([lease]) == {APP1, APP2}

    async def test_only_the_holder_says_who_is_barred(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        await take(cluster, APP1, lease_ms=50)
        _, lease, _ = await take_when_free(cluster, APP2)
        assert await leases.bar_former([replace(lease, token=lease.token - 1)]) == {APP1}
        assert await leases.bar_former([lease]) == {APP1}
        assert await leases.bar_former([lease]) == set()

    async def test_an_app_node_that_is_forgotten_leaves_no_bar(self, cluster: Cluster) -> None:
        registry, appender = cluster.registry(), cluster.appender()
        await registry.register_io_node(IO1, {})
        await take(cluster, APP1, lease_ms=50)
        _, lease, _ = await take_when_free(cluster, APP2)
        await cluster.leases().bar_former([lease])
        inbox = cluster.keys.inbox(IO1)
        assert await appender.bars([inbox], APP1) == [1]
        await registry.unregister_app_node(APP1)
        assert await appender.bars([inbox], APP1) == [0]
