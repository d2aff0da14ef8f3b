"""The last release and this code in one cluster, in both directions: nodes of the one kind are replaced by those of the
other, one at a time, while clients work. Nothing is lost, doubled or reordered (tests/chaos/checker.py).

Recovery is offered only while all nodes know it. `released.txt` names the commit of the release.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import pytest
from tests.chaos.cluster import until
from tests.chaos.field import JS_FIRST, Field, field
from tests.upgrade.probe import Probe, Session
from tests.upgrade.released import Released, export

from sio_cluster.protocol.messages import LEVEL

pytestmark = [pytest.mark.upgrade, pytest.mark.timeout(150)]

ENV = {
    "RECOVERY_WINDOW_MS": "60000",
    "RECOVERY_CLIENTS": "asking",
    "DRAIN_MS": "4000",  # a client that polls fetches what waits for it within that, on a busy machine too
}
RECOVERY_LEVEL = 2
AGREED_S = 10.0
"""When every io-node knows which nodes there are: at its next heartbeat, on a busy machine."""
NOTICED_S = 3.0
"""A client may notice so late, on a busy machine, that its io-node has closed its connection."""
EVENTS = 5
"""So often each client is served between two steps, at full pace."""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    """The last release, in a folder of its own. Skips where this clone does not have it."""
    return export(tmp_path_factory.mktemp("released"))


async def test_upgrade(seed: int, released: Released) -> None:
    async with _cluster("upgrade, old to new", seed, released.env) as it:
        mixed = min(LEVEL, released.level) >= RECOVERY_LEVEL
        await _offered(it, mixed)
        await _replace_nodes(it, {"PYTHONPATH": ""}, offered=mixed)
        await _offered(it, True)
        session = await _open(it)
        await _missed_nothing(it, session)
        await _end(it)


async def test_downgrade(seed: int, released: Released) -> None:
    async with _cluster("upgrade, new to old", seed, {}) as it:
        await _offered(it, True)
        session = await _open(it)
        mixed = min(LEVEL, released.level) >= RECOVERY_LEVEL
        await _replace_nodes(it, released.env, offered=mixed)
        await _offered(it, mixed)
        if not mixed:
            assert (await _claim(it, session)).sid != session.sid, "an old io-node gave a session back"
        await _end(it)


def _cluster(name: str, seed: int, env: Mapping[str, str]) -> AbstractAsyncContextManager[Field]:
    return field(
        name, seed, io_nodes=2, app_nodes=2, env=ENV | dict(env), websockets=60, pollers=10, inspected=False,
        recovering=False,
    )  # fmt: skip


async def _replace_nodes(it: Field, env: Mapping[str, str], *, offered: bool) -> None:
    """Each node by one with this environment, app-nodes and io-nodes in any order."""
    kinds = ["app", "app", "io", "io"]
    it.rng.shuffle(kinds)
    await it.wait_a_moment()
    for step, kind in enumerate(kinds):
        if kind == "app":
            await it.stack.start_app_node(env)
            await _offered(it, offered)
            await it.stack.stop_app_node(0)
        else:
            await it.stack.add_io_node(env)
            await _offered(it, offered)
            await it.stack.remove_io_node(0)
            await it.crowd.all_in(30)
        await it.crowd.progress(EVENTS, 30)
        if step < len(kinds) - 1:
            await _offered(it, offered)


async def _end(it: Field) -> None:
    await it.crowd.progress(EVENTS, 30)
    await it.end(breaks=True, strict_below=JS_FIRST, written_s=NOTICED_S, gap_s=5.0, away_s=8.0)


async def _offered(it: Field, expected: bool) -> None:
    """Waits until each io-node gives pids, or none does, and says so once more after that."""

    async def agreed() -> bool:
        pids = [(await _connected(node.url)).pid for node in it.stack.io_nodes]
        return all((pid is not None) is expected for pid in pids)

    await until(agreed, AGREED_S, f"recovery is not {'on' if expected else 'off'}", every_s=0.3)
    assert await agreed(), f"recovery was {'on' if expected else 'off'}, and then not any more"


async def _connected(url: str) -> Session:
    async with Probe(url) as probe:
        return await probe.connect()


async def _open(it: Field) -> Session:
    """The session of a client that has had one event, and whose connection is gone."""
    async with Probe(it.stack.url) as probe:
        session = await probe.connect()
        it.crowd.members[0].send('["fill",10]')
        await probe.events(1)
        return probe.session(session)


async def _claim(it: Field, session: Session) -> Session:
    async with Probe(it.stack.url) as probe:
        return await probe.connect(session)


async def _missed_nothing(it: Field, session: Session) -> None:
    """The client was away, something was said to it, and it comes back."""
    it.crowd.members[0].send('["fill",30]')
    await it.crowd.progress(EVENTS, 30)
    async with Probe(it.stack.url) as probe:
        back = await probe.connect(session)
        assert (back.sid, back.pid) == (session.sid, session.pid), f"{session} came back as {back}"
        assert await probe.events(3) == 3
