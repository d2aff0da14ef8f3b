"""Who gets no pid: the setting, an older node in the cluster, or the client itself says so."""

import json

from .cluster import PYTHON, cluster, emit, until


async def test_switched_off() -> None:
    async with cluster(1, RECOVERY_WINDOW_MS=0) as world:
        [node] = world.nodes
        browser = await world.browser(node)
        assert browser.pid is None
        await world.say(emit("one"))
        await until(lambda: len(browser.look().events) == 1)
        assert browser.raw[-1] == b'2["one"]'
        browser.drop()
        await until(lambda: browser.sid not in world.broker.clients)
        browser.open(node, {"pid": "mine", "offset": 1})
        await browser.joined()
        assert json.loads(world.connected.auth or b"") == {"pid": "mine", "offset": 1}
        browser.open(node, {"pid": f"{browser.sid}~{'A' * 22}", "offset": "x", "token": 1})  # since it was switched off
        await browser.joined()
        assert json.loads(world.connected.auth or b"") == {"token": 1}


async def test_not_offered_while_an_older_node_is_there() -> None:
    async with cluster(1) as world:
        [node] = world.nodes
        await world.bus.registry.register_app_node("app2-bbbbbb", {})
        await until(lambda: node.io_node._registration.level == 1)
        browser = await world.browser(node)
        assert browser.pid is None


async def test_who_does_not_know_offsets() -> None:
    async with cluster(1) as world:
        browser = await world.browser(world.nodes[0], handshake=PYTHON)
        assert browser.pid is None
        browser.drop()
        await until(lambda: browser.sid not in world.broker.clients)
