"""Passes, in memory and in Valkey alike."""

import asyncio

from sio_cluster.testing.contract import Cluster


class TestPasses:
    async def test_every_process_knows_a_pass_that_one_has_issued(self, cluster: Cluster) -> None:
        await cluster.new_bus().passes.issue("aa", 60_000)
        other = cluster.new_bus().passes
        assert await other.counts("aa")
        assert not await other.counts("bb")

    async def test_it_ends(self, cluster: Cluster) -> None:
        passes = cluster.new_bus().passes
        await passes.issue("aa", 20)
        await asyncio.sleep(0.05)
        assert not await passes.counts("aa")

    async def test_issued_again_it_counts_for_longer(self, cluster: Cluster) -> None:
        passes = cluster.new_bus().passes
        await passes.issue("aa", 20)
        await passes.issue("aa", 60_000)
        await asyncio.sleep(0.05)
        assert await passes.counts("aa")
