"""RECOVERY_NOTICE=late while app-nodes die, and with app-nodes of both settings.

What the application heard before the death may be heard again after it, marked as redelivered, and nothing else.
"""

import asyncio
import random
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

from app_node.counters import STALE_CONNECT, STALE_DISCONNECT
from app_node.membership import parked_homes
from sio_cluster.protocol.messages import Accept

from .returning import Returning, commits_nothing, forgotten, never_ends

pytestmark = pytest.mark.slow

BRIEF_MS = 1500
"""Longer than a takeover."""


@pytest.fixture
def stage(stage: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(parked_homes, "SWEEP_S", 0.05)
    stage.config = stage.config.model_copy(update={"recovery_notice": "late"})
    return stage


@pytest.fixture
async def world(stage: Any, application: Any, returning: Any) -> Any:
    """Two applications, of which the first runs, an io-node, and a client of it that is connected."""
    first, second, home = application(), application(), await stage.io_node("io1")
    client = returning(home)
    await first.sio.start()
    await client.come()
    await home.settle()
    return SimpleNamespace(first=first, second=second, home=home, client=client)


async def ends_well(world: Any, heard: list[str], reason: str = "transport close") -> None:
    """The second application has heard this. It hears of one more return, and of one end."""
    await world.home.settle()
    assert world.second.heard == heard
    await world.client.lose(reason="transport error")
    await world.client.come_back()
    await world.client.lose(keep_ms=1)
    await forgotten(world.home, world.client)
    assert world.second.heard == [*heard, "connect recovered", "transport close"]


async def test_between_disconnect_and_claim(world: Any, kill: Any) -> None:
    await world.client.lose()
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.client.come_back()
    await ends_well(world, ["connect recovered"])


async def test_between_disconnect_and_the_end_of_its_time(world: Any, kill: Any) -> None:
    await world.client.lose(reason="ping timeout", keep_ms=BRIEF_MS)
    await kill(world.first.sio)
    await world.second.sio.start()
    await forgotten(world.home, world.client)
    assert world.first.heard == ["connect"]
    assert world.second.heard == ["ping timeout"]


async def test_while_its_time_ends(world: Any, kill: Any) -> None:
    """No app-node was there when its time was over."""
    await world.client.lose(reason="ping timeout", keep_ms=200)
    await kill(world.first.sio)
    await asyncio.sleep(0.3)
    await world.second.sio.start()
    await forgotten(world.home, world.client)
    assert world.second.heard == ["ping timeout"]


async def test_before_its_disconnect_is_read(world: Any, kill: Any) -> None:
    await kill(world.first.sio)
    await world.home.send(world.client.gone("ping timeout"), await world.client.claim())
    await world.second.sio.start()
    await world.client.let_in()
    await ends_well(world, ["connect recovered"])


async def test_a_disconnect_that_was_not_committed(world: Any, stage: Any, kill: Any) -> None:
    done = commits_nothing(world.first)
    await world.home.send(world.client.gone("ping timeout"))
    await stage.until(lambda: done)
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.client.come_back()
    await ends_well(world, ["connect recovered"])


async def test_a_disconnect_that_was_not_committed_of_one_who_is_back(world: Any, stage: Any, kill: Any) -> None:
    done = commits_nothing(world.first)
    await world.home.send(world.client.gone("ping timeout"))
    await stage.until(lambda: done)
    fact = await world.client.claim()
    await kill(world.first.sio)
    await world.home.send(fact)
    await world.second.sio.start()
    await world.client.let_in()
    await world.home.settle()
    assert world.second.sio.node.counters.outcomes[STALE_DISCONNECT] == 1
    await ends_well(world, ["connect recovered"])


async def test_in_the_connect_handler_of_one_who_is_back(world: Any, kill: Any) -> None:
    await world.client.lose()
    begun = never_ends(world.first, "connect")
    await world.home.send(await world.client.claim())
    await begun.wait()
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.client.let_in()
    await ends_well(world, ["connect recovered"])


async def test_after_the_connect_handler_of_one_who_is_back(world: Any, stage: Any, kill: Any) -> None:
    """It is accepted again, and its handler is not called again."""
    await world.client.lose()
    done = commits_nothing(world.first)
    await world.client.come_back()
    await stage.until(lambda: done)
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.until(lambda: world.home.commands.count(Accept(world.client.sid, 1)) == 2)
    await ends_well(world, [])


async def test_in_the_disconnect_handler_of_one_who_is_refused(world: Any, kill: Any) -> None:
    await world.client.lose()
    world.first.refuses = world.second.refuses = True
    begun = never_ends(world.first, "disconnect")
    await world.home.send(await world.client.claim())
    await begun.wait()
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.settle()
    assert world.second.heard == ["connect recovered", "server disconnect"]
    assert not await world.client.claimable()


async def test_after_the_disconnect_handler_of_one_who_is_refused(world: Any, stage: Any, kill: Any) -> None:
    await world.client.lose()
    world.first.refuses = True
    done = commits_nothing(world.first)
    await world.home.send(await world.client.claim())
    await stage.until(lambda: done)
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.settle()
    assert world.first.heard == ["connect", "connect recovered", "server disconnect"]
    assert world.second.heard == []
    assert world.second.sio.node.counters.outcomes[STALE_CONNECT] == 1


async def test_in_the_late_disconnect_handler(world: Any, kill: Any) -> None:
    begun = never_ends(world.first, "disconnect")
    await world.client.lose(reason="node drained", keep_ms=1)
    await begun.wait()
    await kill(world.first.sio)
    await world.second.sio.start()
    await forgotten(world.home, world.client)
    assert world.second.heard == ["node drained"]


async def test_after_the_late_disconnect_handler(world: Any, stage: Any, kill: Any) -> None:
    await world.client.lose(reason="node drained", keep_ms=500)
    done = commits_nothing(world.first)
    await stage.until(lambda: done)
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.settle()
    assert world.first.heard == ["connect", "node drained"]
    assert world.second.heard == []


async def test_an_event_of_before_that_was_not_handled(world: Any, stage: Any, kill: Any) -> None:
    """The application has not heard that its client is gone. So the event is handled, as of a connected client."""
    heard: list[str] = []
    begun = asyncio.Event()

    async def hangs(sid: str, text: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def hears(sid: str, text: str) -> None:
        heard.append(text)

    world.first.sio.on("say", hangs)
    world.second.sio.on("say", hears)
    await world.home.event(world.client.sid, "say", "hello")
    await begun.wait()
    await world.home.send(world.client.gone())
    await stage.until(lambda: world.first.sio.node.counters.entries_committed == 2)
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.settle()
    assert heard == ["hello"]
    await world.client.come_back()
    await ends_well(world, ["connect recovered"])


async def test_the_application_disconnects_one_of_whom_a_late_event_came(world: Any, kill: Any) -> None:
    """Its last connection, which has ended, was a claim whose connect never came."""
    await world.client.lose()
    await world.client.claim()
    await world.client.lose()
    await kill(world.first.sio)
    await world.second.sio.start()
    await world.home.event(world.client.sid, "rooms")
    await world.home.settle()
    assert world.second.sio.manager.is_connected(world.client.sid, "/")
    await world.second.sio.disconnect(world.client.sid)
    await forgotten(world.home, world.client)
    assert world.second.heard == ["server disconnect"]


async def test_the_next_app_node_tells_at_once(world: Any, stage: Any, application: Any, kill: Any) -> None:
    """Who comes back there has a disconnect first, which implies that the former connection is over."""
    await world.client.lose()
    await kill(world.first.sio)
    stage.config = stage.config.model_copy(update={"recovery_notice": "now"})
    at_once = application()
    await at_once.sio.start()
    await world.client.come_back()
    await world.home.settle()
    assert at_once.heard == ["transport close", "connect recovered"]
    await world.client.lose()
    assert at_once.heard == ["transport close", "connect recovered", "transport close"]


async def test_the_next_app_node_tells_at_once_of_one_who_does_not_come_back(
    world: Any, stage: Any, application: Any, kill: Any
) -> None:
    """Whatever its own setting, it tells of those of whom nobody has told."""
    await world.client.lose(reason="ping timeout", keep_ms=BRIEF_MS)
    await kill(world.first.sio)
    stage.config = stage.config.model_copy(update={"recovery_notice": "now"})
    at_once = application()
    await at_once.sio.start()
    await forgotten(world.home, world.client)
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
