"""RECOVERY_NOTICE=late while app-nodes die, and with app-nodes of both settings.

What the application heard before the death may be heard again after it, marked as redelivered, and nothing else.
"""

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest

from app_node.counters import STALE_CONNECT, STALE_DISCONNECT
from app_node.membership import parked_homes
from sio_cluster.protocol.messages import Accept

from .returning import Returning, Takeover, commits_nothing, forgotten, never_ends

pytestmark = pytest.mark.slow

BRIEF_MS = 1500
"""Longer than a takeover."""


@pytest.fixture
def stage(stage: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(parked_homes, "SWEEP_S", 0.05)
    stage.config = stage.config.model_copy(update={"recovery_notice": "late"})
    return stage


async def ends_well(takeover: Takeover, heard: list[str]) -> None:
    """The second application has heard this. It hears of one more return, and of one end."""
    await takeover.home.settle()
    assert takeover.second.heard == heard
    await takeover.client.lose(reason="transport error")
    await takeover.client.come_back()
    await takeover.client.lose(keep_ms=1)
    await forgotten(takeover.home, takeover.client)
    assert takeover.second.heard == [*heard, "connect recovered", "transport close"]


async def test_between_disconnect_and_claim(takeover: Takeover) -> None:
    await takeover.client.lose()
    await takeover.happens()
    await takeover.client.come_back()
    await ends_well(takeover, ["connect recovered"])


async def test_between_disconnect_and_the_end_of_its_time(takeover: Takeover) -> None:
    await takeover.client.lose(reason="ping timeout", keep_ms=BRIEF_MS)
    await takeover.happens()
    await forgotten(takeover.home, takeover.client)
    assert takeover.first.heard == ["connect"]
    assert takeover.second.heard == ["ping timeout"]


async def test_while_its_time_ends(takeover: Takeover, kill: Any) -> None:
    """No app-node was there when its time was over."""
    await takeover.client.lose(reason="ping timeout", keep_ms=200)
    await kill(takeover.first.sio)
    await asyncio.sleep(0.3)
    await takeover.second.sio.start()
    await forgotten(takeover.home, takeover.client)
    assert takeover.second.heard == ["ping timeout"]


async def test_before_its_disconnect_is_read(takeover: Takeover, kill: Any) -> None:
    await kill(takeover.first.sio)
    await takeover.home.send(takeover.client.gone("ping timeout"), await takeover.client.claim())
    await takeover.second.sio.start()
    await takeover.client.let_in()
    await ends_well(takeover, ["connect recovered"])


async def test_a_disconnect_that_was_not_committed(takeover: Takeover) -> None:
    await takeover.handles(takeover.client.gone("ping timeout"))
    await takeover.happens()
    await takeover.client.come_back()
    await ends_well(takeover, ["connect recovered"])


async def test_a_disconnect_that_was_not_committed_of_one_who_is_back(takeover: Takeover, kill: Any) -> None:
    await takeover.handles(takeover.client.gone("ping timeout"))
    fact = await takeover.client.claim()
    await kill(takeover.first.sio)
    await takeover.home.send(fact)
    await takeover.second.sio.start()
    await takeover.client.let_in()
    await takeover.home.settle()
    assert takeover.second.sio.node.counters.outcomes[STALE_DISCONNECT] == 1
    await ends_well(takeover, ["connect recovered"])


async def test_in_the_connect_handler_of_one_who_is_back(takeover: Takeover) -> None:
    await takeover.client.lose()
    await takeover.hangs_in("connect", await takeover.client.claim())
    await takeover.happens()
    await takeover.client.let_in()
    await ends_well(takeover, ["connect recovered"])


async def test_after_the_connect_handler_of_one_who_is_back(takeover: Takeover, stage: Any) -> None:
    """It is accepted again, and its handler is not called again."""
    await takeover.client.lose()
    done = commits_nothing(takeover.first)
    await takeover.client.come_back()
    await stage.until(lambda: done)
    await takeover.happens()
    await takeover.home.until(lambda: takeover.home.commands.count(Accept(takeover.client.sid, 1)) == 2)
    await ends_well(takeover, [])


async def test_in_the_disconnect_handler_of_one_who_is_refused(takeover: Takeover) -> None:
    await takeover.client.lose()
    takeover.first.refuses = takeover.second.refuses = True
    await takeover.hangs_in("disconnect", await takeover.client.claim())
    await takeover.happens()
    await takeover.home.settle()
    assert takeover.second.heard == ["connect recovered", "server disconnect"]
    assert not await takeover.client.claimable()


async def test_after_the_disconnect_handler_of_one_who_is_refused(takeover: Takeover) -> None:
    await takeover.client.lose()
    takeover.first.refuses = True
    await takeover.handles(await takeover.client.claim())
    await takeover.happens()
    await takeover.home.settle()
    assert takeover.first.heard == ["connect", "connect recovered", "server disconnect"]
    assert takeover.second.heard == []
    assert takeover.second.sio.node.counters.outcomes[STALE_CONNECT] == 1


async def test_in_the_late_disconnect_handler(takeover: Takeover) -> None:
    begun = never_ends(takeover.first, "disconnect")
    await takeover.client.lose(reason="node drained", keep_ms=1)
    await begun.wait()
    await takeover.happens()
    await forgotten(takeover.home, takeover.client)
    assert takeover.second.heard == ["node drained"]


async def test_after_the_late_disconnect_handler(takeover: Takeover, stage: Any) -> None:
    await takeover.client.lose(reason="node drained", keep_ms=500)
    done = commits_nothing(takeover.first)
    await stage.until(lambda: done)
    await takeover.happens()
    await takeover.home.settle()
    assert takeover.first.heard == ["connect", "node drained"]
    assert takeover.second.heard == []


async def test_an_event_of_before_that_was_not_handled(takeover: Takeover, stage: Any) -> None:
    """The application has not heard that its client is gone. So the event is handled, as of a connected client."""
    heard: list[str] = []
    begun = asyncio.Event()

    async def hangs(sid: str, text: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def hears(sid: str, text: str) -> None:
        heard.append(text)

    takeover.first.sio.on("say", hangs)
    takeover.second.sio.on("say", hears)
    await takeover.home.event(takeover.client.sid, "say", "hello")
    await begun.wait()
    await takeover.home.send(takeover.client.gone())
    await stage.until(lambda: takeover.first.sio.node.counters.entries_committed == 2)
    await takeover.happens()
    await takeover.home.settle()
    assert heard == ["hello"]
    await takeover.client.come_back()
    await ends_well(takeover, ["connect recovered"])


async def test_the_application_disconnects_one_of_whom_a_late_event_came(takeover: Takeover) -> None:
    """Its last connection, which has ended, was a claim whose connect never came."""
    await takeover.client.lose()
    await takeover.client.claim()
    await takeover.client.lose()
    await takeover.happens()
    await takeover.home.event(takeover.client.sid, "rooms")
    await takeover.home.settle()
    assert takeover.second.sio.manager.is_connected(takeover.client.sid, "/")
    await takeover.second.sio.disconnect(takeover.client.sid)
    await forgotten(takeover.home, takeover.client)
    assert takeover.second.heard == ["server disconnect"]


async def test_the_next_app_node_tells_at_once(takeover: Takeover, stage: Any, application: Any, kill: Any) -> None:
    """Who comes back there has a disconnect first, which implies that the former connection is over."""
    await takeover.client.lose()
    await kill(takeover.first.sio)
    stage.config = stage.config.model_copy(update={"recovery_notice": "now"})
    at_once = application()
    await at_once.sio.start()
    await takeover.client.come_back()
    await takeover.home.settle()
    assert at_once.heard == ["transport close", "connect recovered"]
    await takeover.client.lose()
    assert at_once.heard == ["transport close", "connect recovered", "transport close"]


async def test_the_next_app_node_tells_at_once_of_one_who_does_not_come_back(
    takeover: Takeover, stage: Any, application: Any, kill: Any
) -> None:
    """Whatever its own setting, it tells of those of whom nobody has told."""
    await takeover.client.lose(reason="ping timeout", keep_ms=BRIEF_MS)
    await kill(takeover.first.sio)
    stage.config = stage.config.model_copy(update={"recovery_notice": "now"})
    at_once = application()
    await at_once.sio.start()
    await forgotten(takeover.home, takeover.client)
    assert at_once.heard == ["ping timeout"]


async def test_the_app_node_before_told_at_once(stage: Any, application: Any, returning: Any, kill: Any) -> None:
    late = application()
    stage.config = stage.config.model_copy(update={"recovery_notice": "now"})
    at_once, home = application(), await stage.io_node()
    client = returning(home)
    await at_once.sio.start()
    await client.come()
    await client.lose()
    await kill(at_once.sio)
    await late.sio.start()
    await client.come_back()
    await client.lose(keep_ms=1)
    await forgotten(home, client)
    assert at_once.heard == ["connect", "transport close"]
    assert late.heard == ["connect recovered", "transport close"]


@pytest.mark.parametrize("seed", range(3))
async def test_each_client_has_one_disconnect(stage: Any, kill: Any, seed: int) -> None:
    """Forty clients that come, go, come back and are sent away, while an app-node is killed."""
    chance = random.Random(seed)
    heard: dict[str, list[tuple[str, bool]]] = defaultdict(list)  # by sid: what, and whether it may have been before

    def application() -> Any:
        sio = stage.server()

        @sio.event
        async def connect(sid: str, environ: Any, auth: Any, is_recovered: bool) -> None:
            heard[sid].append(("recovered" if is_recovered else "connect", sio.is_redelivered()))

        @sio.event
        async def disconnect(sid: str) -> None:
            heard[sid].append(("disconnect", sio.is_redelivered()))

        return sio

    first, second = application(), application()
    homes = [await stage.io_node("io1"), await stage.io_node("io2")]
    await first.start()
    await second.start()
    clients = [Returning(homes[number % 2]) for number in range(40)]

    async def live(client: Returning) -> None:
        await client.come()
        for _ in range(chance.randrange(4)):
            gone = client.gone(chance.choice(["ping timeout", "transport close"]))
            if chance.random() < 0.7:
                await client.home.send(gone)
            await client.come_back(chance.choice(homes))
            await asyncio.sleep(chance.random() / 10)
        if chance.random() < 0.3:
            await second.disconnect(client.sid)
        await client.home.send(client.gone(keep_ms=chance.choice([0, 50])))

    lives = [asyncio.create_task(live(client)) for client in clients]
    await asyncio.sleep(0.1)
    await kill(first)
    await asyncio.gather(*lives)
    for client in clients:
        await forgotten(homes[0], client)
    for client in clients:
        of_client = heard[client.sid]
        end = [what for what, _ in of_client].index("disconnect")
        assert set(of_client[end + 1 :]) <= {("disconnect", True)}, of_client
