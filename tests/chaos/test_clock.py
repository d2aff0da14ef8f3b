"""The wall clock of one node of each kind is wrong. Leases and heartbeats do not look at it."""

import pytest
from tests.chaos.cluster import ready, until
from tests.chaos.field import field
from tests.conftest import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]


async def test_clock_steps_by_an_hour(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The clock steps forward, back and further back. The application asks for the time at each event, so it sees the
    step."""
    clock = tmp_path_factory.mktemp("clock") / "shift"
    env = {"PYTHONPATH": str(ROOT / "tests/chaos/clock"), "CHAOS_CLOCK": str(clock)}
    async with field("clock steps by an hour", seed, app_envs=[env], io_envs=[env], io_nodes=1) as it:
        app_node, io_node = it.stack.app_nodes[-1], it.stack.io_nodes[-1]
        for number, shift in enumerate((3600, -3600, 0), 1):
            await it.wait_a_moment()
            clock.write_text(str(shift))

            async def seen(times: int = number) -> bool:
                told = [name for name, line in it.lines if "wall clock is off" in line]
                return told.count(app_node.name) >= times

            await until(seen, 5, "the app-node did not see the step")
            await it.crowd.progress(20, 30)
            assert await ready(app_node)
            assert await ready(io_node)
        assert any(name == io_node.name for name, line in it.lines if "wall clock is off" in line)
        await it.end(gap_s=1.0, balanced="all")
