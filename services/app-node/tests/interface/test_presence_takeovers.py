"""Who is present in a room while app-nodes die and stop; over the fakes and over Valkey."""

import asyncio
from typing import Any

import pytest

from ..presences import ROOM, come, events, sees, started

pytestmark = pytest.mark.slow


async def test_an_app_node_that_dies_leaves_no_ghosts(stage: Any, kill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies when clients have come and gone in Redis, and before it has told anybody."""
    holder, other, io = await started(stage)
    grace, ada = await come(io, "grace"), await come(io, "ada")
    await sees(io, grace, grace=1, ada=1)
    told: list[Any] = []

    async def nobody(lane: Any, news: Any) -> None:
        told.append(news)

    monkeypatch.setattr(holder.node.clients.presence_news, "_tell", nobody)
    await come(io, "hedy")
    await io.disconnect(ada)
    await io.settle()
    await stage.until(lambda: told)
    await kill(holder)
    await stage.echo_server().start()
    page = await sees(io, grace, grace=1, hedy=1)
    assert sorted(await other.presence(ROOM).list()) == ["grace", "hedy"]
    assert ["ada"] not in page.keys


async def test_what_was_told_and_not_noted_is_told_again_and_changes_nothing(stage: Any, kill: Any) -> None:
    holder, _, io = await started(stage)
    grace = await come(io, "grace")
    await sees(io, grace, grace=1)
    noted = asyncio.Event()

    async def never(lease: Any, news: Any) -> None:
        noted.set()
        await asyncio.Event().wait()

    holder.node.clients.presence_news._presences.told = never
    ada = await come(io, "ada")
    await asyncio.wait_for(noted.wait(), 8)
    await kill(holder)
    before = len(events(io.commands))
    await stage.echo_server().start()
    await io.until(lambda: len(events(io.commands)) > before)
    page = await sees(io, grace, grace=1, ada=1)
    assert page.keys == [[], ["grace"], ["ada", "grace"]]
    await io.disconnect(ada)
    await sees(io, grace, grace=1)


async def test_a_clean_stop_tells_before_the_lanes_move(stage: Any) -> None:
    holder, _, io = await started(stage)
    grace = await come(io, "grace")
    await sees(io, grace, grace=1)
    ada = await come(io, "ada")
    second = stage.echo_server()
    await second.start()
    await holder.shutdown()
    await io.disconnect(ada)
    page = await sees(io, grace, grace=1)
    await io.settle()
    assert page.keys in ([[], ["grace"], ["ada", "grace"], ["grace"]], [[], ["grace"]])


async def test_a_lane_is_not_handed_over_while_its_news_are_told(memory_stage: Any) -> None:
    """Else the next holder might tell something later before this one has told what was earlier."""
    holder, _, io = await started(memory_stage)
    news = holder.node.clients.presence_news
    told, begun, goes_on = news._presences.told, asyncio.Event(), asyncio.Event()

    async def slow(lease: Any, some: Any) -> None:
        begun.set()
        await goes_on.wait()
        await told(lease, some)

    news._presences.told = slow
    await come(io, "ada")
    await asyncio.wait_for(begun.wait(), 8)
    asyncio.get_running_loop().call_later(0.3, goes_on.set)  # a stop that did not wait would be over long before
    await holder.shutdown()
    assert [len(lane) for lane in memory_stage.broker.news.values() if lane] == []
