"""Claims of sessions while app-nodes die: connect and disconnect still alternate for each client.

What the application heard before the death may be heard again after it, marked as redelivered, and nothing else.
"""

from typing import Any

import pytest

from app_node.counters import STALE_CONNECT, STALE_DISCONNECT
from sio_cluster.protocol.messages import Accept, Refuse

from .returning import Takeover, commits_nothing

pytestmark = pytest.mark.slow


async def ends_well(takeover: Takeover, heard: list[str]) -> None:
    """The second application has heard this, lets the client in, and hears once that it goes."""
    await takeover.client.let_in()
    await takeover.home.settle()
    assert takeover.second.heard == heard
    await takeover.client.lose()
    assert takeover.second.heard == [*heard, "transport close"]
    await takeover.client.come_back()
    assert takeover.second.heard == [*heard, "transport close", "connect recovered"]


async def test_between_disconnect_and_claim(takeover: Takeover) -> None:
    await takeover.client.lose()
    await takeover.happens()
    await takeover.client.come_back()
    await ends_well(takeover, ["connect recovered"])


async def test_between_claim_and_connect(takeover: Takeover, kill: Any) -> None:
    await takeover.client.lose()
    fact = await takeover.client.claim()
    await kill(takeover.first.sio)
    await takeover.home.send(fact)
    await takeover.second.sio.start()
    await ends_well(takeover, ["connect recovered"])


async def test_in_the_connect_handler(takeover: Takeover) -> None:
    await takeover.client.lose()
    await takeover.hangs_in("connect", await takeover.client.claim())
    await takeover.happens()
    await ends_well(takeover, ["connect recovered"])


async def test_in_the_connect_handler_of_one_whose_former_connection_is_half_open(
    takeover: Takeover, kill: Any
) -> None:
    """That its disconnect was handled is known."""
    await takeover.hangs_in("connect", await takeover.client.claim())
    assert takeover.first.heard == ["connect", "transport close", "connect recovered"]
    await kill(takeover.first.sio)
    await takeover.home.send(takeover.client.gone(generation=0))
    await takeover.second.sio.start()
    await ends_well(takeover, ["connect recovered"])
    assert takeover.second.sio.node.counters.outcomes[STALE_DISCONNECT] == 1


async def test_in_the_disconnect_handler_of_a_half_open_connection(takeover: Takeover) -> None:
    await takeover.hangs_in("disconnect", await takeover.client.claim())
    await takeover.happens()
    await ends_well(takeover, ["transport close", "connect recovered"])


async def test_in_the_disconnect_handler_of_one_who_has_come_back_meanwhile(takeover: Takeover) -> None:
    await takeover.hangs_in("disconnect", takeover.client.gone("ping timeout"))
    await takeover.home.send(await takeover.client.claim())
    await takeover.happens()
    await ends_well(takeover, ["ping timeout", "connect recovered"])


async def test_after_the_disconnect_handler_of_one_who_has_come_back_meanwhile(takeover: Takeover, kill: Any) -> None:
    await takeover.handles(takeover.client.gone("ping timeout"))
    fact = await takeover.client.claim()
    await kill(takeover.first.sio)
    await takeover.home.send(fact)
    await takeover.second.sio.start()
    await ends_well(takeover, ["connect recovered"])
    assert takeover.second.sio.node.counters.outcomes[STALE_DISCONNECT] == 1


async def test_after_the_connect_handler(takeover: Takeover, stage: Any) -> None:
    """Its connection was let in, so that it is accepted again, and its handler is not called again."""
    await takeover.client.lose()
    done = commits_nothing(takeover.first)
    await takeover.client.come_back()
    await stage.until(lambda: done)
    await takeover.happens()
    await takeover.home.until(lambda: takeover.home.commands.count(Accept(takeover.client.sid, 1)) == 2)
    await ends_well(takeover, [])


async def test_a_half_open_connection_that_another_app_node_let_in(takeover: Takeover) -> None:
    await takeover.happens()
    await takeover.client.come_back()
    await ends_well(takeover, ["transport close", "connect recovered"])


async def test_a_stale_end_of_one_whom_another_app_node_let_in(takeover: Takeover) -> None:
    await takeover.client.lose()
    await takeover.client.come_back()
    await takeover.home.settle()
    await takeover.happens()
    await takeover.home.send(takeover.client.gone(generation=0))
    await takeover.home.settle()
    assert takeover.second.heard == []
    assert takeover.second.sio.node.counters.outcomes[STALE_DISCONNECT] == 1
    await takeover.client.lose()
    assert takeover.second.heard == ["transport close"]


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


async def test_a_claim_that_comes_again_after_its_disconnect(takeover: Takeover, stage: Any) -> None:
    """The entry of the connect was not committed, and that of the disconnect was."""
    await takeover.client.lose()
    done = commits_nothing(takeover.first)
    await takeover.client.come_back()
    await stage.until(lambda: done)
    del takeover.first.sio.node.commits.put
    await takeover.home.send(takeover.client.gone())
    await stage.until(lambda: takeover.first.sio.node.counters.entries_committed == 3)
    await takeover.happens()
    await takeover.home.settle()
    assert takeover.second.heard == []
    assert takeover.second.sio.node.counters.outcomes[STALE_CONNECT] == 1
    await takeover.client.come_back()
    await ends_well(takeover, ["connect recovered"])


async def test_a_refusal_that_was_not_committed(takeover: Takeover) -> None:
    await takeover.client.lose()
    takeover.first.refuses = True
    await takeover.handles(await takeover.client.claim())
    await takeover.happens()
    await takeover.home.settle()
    assert takeover.second.heard == []
    assert len([c for c in takeover.home.commands if isinstance(c, Refuse)]) == 1
    assert not await takeover.client.claimable()
