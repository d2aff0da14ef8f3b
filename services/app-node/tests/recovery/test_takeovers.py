"""Claims of sessions while app-nodes die: connect and disconnect still alternate for each client.

What the application heard before the death may be heard again after it, marked as redelivered, and nothing else.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from app_node.counters import STALE_CONNECT, STALE_DISCONNECT
from sio_cluster.protocol.messages import Accept, Refuse

from .returning import commits_nothing, never_ends

pytestmark = pytest.mark.slow


@pytest.fixture
async def world(stage: Any, application: Any, returning: Any) -> Any:
    """Two applications, of which the first runs, an io-node, and a client of it that is connected."""
    first, second, home = application(), application(), await stage.io_node("io1")
    client = returning(home)
    await first.sio.start()
    await client.come()
    await home.settle()
    return SimpleNamespace(first=first, second=second, home=home, client=client)


async def ends_well(world: Any, heard: list[str]) -> None:
    """The second application has heard this, lets the client in, and hears once that it goes."""
    await world.client.let_in()
    await world.home.settle()
    assert world.second.heard == heard
    await world.client.lose()
    assert world.second.heard == [*heard, "transport close"]
    await world.client.come_back()
    assert world.second.heard == [*heard, "transport close", "connect recovered"]


async def test_between_disconnect_and_claim(world: Any, kill: Any) -> None:
    await world.client.lose()
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.client.come_back()
    await ends_well(world, ["connect recovered"])


async def test_between_claim_and_connect(world: Any, kill: Any) -> None:
    await world.client.lose()
    fact = await world.client.claim()
    await kill(world.first.sio)
    await world.home.send(fact)
    await world.second.sio.start()
    await ends_well(world, ["connect recovered"])


async def test_in_the_connect_handler(world: Any, kill: Any) -> None:
    await world.client.lose()
    begun = never_ends(world.first, "connect")
    await world.home.send(await world.client.claim())
    await begun.wait()
    await kill(world.first.sio)
    await world.second.sio.start()
    await ends_well(world, ["connect recovered"])


async def test_in_the_connect_handler_of_one_whose_former_connection_is_half_open(world: Any, kill: Any) -> None:
    """That its disconnect was handled is known."""
    begun = never_ends(world.first, "connect")
    await world.home.send(await world.client.claim())
    await begun.wait()
    assert world.first.heard == ["connect", "transport close", "connect recovered"]
    await kill(world.first.sio)
    await world.home.send(world.client.gone(generation=0))
    await world.second.sio.start()
    await ends_well(world, ["connect recovered"])
    assert world.second.sio.node.counters.outcomes[STALE_DISCONNECT] == 1


async def test_in_the_disconnect_handler_of_a_half_open_connection(world: Any, kill: Any) -> None:
    begun = never_ends(world.first, "disconnect")
    await world.home.send(await world.client.claim())
    await begun.wait()
    await kill(world.first.sio)
    await world.second.sio.start()
    await ends_well(world, ["transport close", "connect recovered"])


async def test_in_the_disconnect_handler_of_one_who_has_come_back_meanwhile(world: Any, kill: Any) -> None:
    begun = never_ends(world.first, "disconnect")
    await world.home.send(world.client.gone("ping timeout"))
    await begun.wait()
    await world.home.send(await world.client.claim())
    await kill(world.first.sio)
    await world.second.sio.start()
    await ends_well(world, ["ping timeout", "connect recovered"])


async def test_after_the_disconnect_handler_of_one_who_has_come_back_meanwhile(
    world: Any, stage: Any, kill: Any
) -> None:
    done = commits_nothing(world.first)
    await world.home.send(world.client.gone("ping timeout"))
    await stage.until(lambda: done)
    fact = await world.client.claim()
    await kill(world.first.sio)
    await world.home.send(fact)
    await world.second.sio.start()
    await ends_well(world, ["connect recovered"])
    assert world.second.sio.node.counters.outcomes[STALE_DISCONNECT] == 1


async def test_after_the_connect_handler(world: Any, stage: Any, kill: Any) -> None:
    """Its connection was let in, so that it is accepted again, and its handler is not called again."""
    await world.client.lose()
    done = commits_nothing(world.first)
    await world.client.come_back()
    await stage.until(lambda: done)
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.until(lambda: world.home.commands.count(Accept(world.client.sid, 1)) == 2)
    await ends_well(world, [])


async def test_a_half_open_connection_that_another_app_node_let_in(world: Any, kill: Any) -> None:
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.client.come_back()
    await ends_well(world, ["transport close", "connect recovered"])


async def test_a_stale_end_of_one_whom_another_app_node_let_in(world: Any, kill: Any) -> None:
    await world.client.lose()
    await world.client.come_back()
    await world.home.settle()
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.send(world.client.gone(generation=0))
    await world.home.settle()
    assert world.second.heard == []
    assert world.second.sio.node.counters.outcomes[STALE_DISCONNECT] == 1
    await world.client.lose()
    assert world.second.heard == ["transport close"]


async def test_a_first_connect_that_comes_again_after_the_claim(
    stage: Any, application: Any, returning: Any, kill: Any
) -> None:
    """The entry of the first connect was not committed, and all of the client's later ones were."""
    first, second, home = application(), application(), await stage.io_node()
    client = returning(home)
    await first.sio.start()
    done = commits_nothing(first)
    await client.come()
    await stage.until(lambda: done)
    del first.sio.node.commits.put
    await home.send(client.gone())
    await stage.until(lambda: first.heard[-1] == "transport close")
    await client.come_back()
    await stage.until(lambda: first.sio.node.counters.entries_committed == 2)
    await kill(first.sio)
    await second.sio.start()
    await home.settle()
    assert second.heard == []
    assert second.sio.node.counters.outcomes[STALE_CONNECT] == 1
    await client.lose()
    assert second.heard == ["transport close"]


async def test_a_claim_that_comes_again_after_its_disconnect(world: Any, stage: Any, kill: Any) -> None:
    """The entry of the connect was not committed, and that of the disconnect was."""
    await world.client.lose()
    done = commits_nothing(world.first)
    await world.client.come_back()
    await stage.until(lambda: done)
    del world.first.sio.node.commits.put
    await world.home.send(world.client.gone())
    await stage.until(lambda: world.first.sio.node.counters.entries_committed == 3)
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.settle()
    assert world.second.heard == []
    assert world.second.sio.node.counters.outcomes[STALE_CONNECT] == 1
    await world.client.come_back()
    await ends_well(world, ["connect recovered"])


async def test_a_refusal_that_was_not_committed(world: Any, stage: Any, kill: Any) -> None:
    await world.client.lose()
    world.first.refuses = True
    done = commits_nothing(world.first)
    await world.home.send(await world.client.claim())
    await stage.until(lambda: done)
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.settle()
    assert world.second.heard == []
    assert len([c for c in world.home.commands if isinstance(c, Refuse)]) == 1
    assert not await world.client.claimable()
