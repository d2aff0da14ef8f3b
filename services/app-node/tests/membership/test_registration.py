"""What an app-node says about itself in the registry."""

from app_node.membership.registration import AppNodeRegistration
from sio_cluster.protocol.messages import LEVEL
from sio_cluster.streams.api.registry import Registry
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

NODE = "app1-aaaaaa"
LEVEL_NOW = {"level": str(LEVEL)}


async def said(nodes: Registry) -> dict[str, dict[str, str]]:
    """What nodes say about themselves, but for which processes they are."""
    process = ("host", "pid", "release", "since")
    infos = await nodes.app_nodes()
    assert all(info[key] for info in infos.values() for key in process)
    return {node: {key: text for key, text in info.items() if key not in process} for node, info in infos.items()}


async def registry() -> Registry:
    bus = MemoryBus(config_of(), MemoryBroker())
    await bus.start()
    await bus.registry.heartbeat(NODE, 60_000)
    return bus.registry


async def test_quarantines_are_told_when_they_change() -> None:
    nodes = await registry()
    registration = AppNodeRegistration(NODE, nodes, lambda: True)
    registration.takes_lanes = True
    await registration.refresh()
    assert await said(nodes) == {NODE: {"state": "running", **LEVEL_NOW}}
    await registration.announce({7, 3}, alone=False)
    assert await said(nodes) == {NODE: {"state": "running", **LEVEL_NOW, "quarantined": "3 7"}}
    await registration.announce((), alone=True)
    assert await said(nodes) == {NODE: {"state": "running", **LEVEL_NOW, "alone": "yes"}}


async def test_who_drains_says_so_whatever_else_it_says() -> None:
    nodes = await registry()
    registration = AppNodeRegistration(NODE, nodes, lambda: True)
    registration.takes_lanes = True
    await registration.refresh()
    await registration.drain()
    await registration.announce({3}, alone=False)
    assert await said(nodes) == {NODE: {"state": "draining", **LEVEL_NOW, "quarantined": "3"}}


async def test_who_is_not_registered_says_nothing() -> None:
    """Before it takes lanes, and after it has left."""
    nodes = await registry()
    registration = AppNodeRegistration(NODE, nodes, lambda: True)
    await registration.announce({3}, alone=False)
    assert await said(nodes) == {}
    registration.takes_lanes = True
    await registration.refresh()
    assert await said(nodes) == {NODE: {"state": "running", **LEVEL_NOW, "quarantined": "3"}}
    await registration.leave()
    await nodes.heartbeat(NODE, 60_000)
    await registration.announce((), alone=False)
    assert await said(nodes) == {}


async def test_it_says_whether_somebody_watches() -> None:
    nodes = await registry()
    registration = AppNodeRegistration(NODE, nodes, lambda: True)
    registration.takes_lanes = True
    await registration.refresh()
    await registration.watch(True)
    assert await said(nodes) == {NODE: {"state": "running", **LEVEL_NOW, "watched": "yes"}}
    await registration.announce({3}, alone=False)
    assert await said(nodes) == {NODE: {"state": "running", **LEVEL_NOW, "quarantined": "3", "watched": "yes"}}
    await registration.watch(False)
    assert await said(nodes) == {NODE: {"state": "running", **LEVEL_NOW, "quarantined": "3"}}
