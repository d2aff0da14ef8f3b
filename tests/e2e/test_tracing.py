"""One event is one trace, over all processes, in a collector of OpenTelemetry's."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.conformance.raw import Wire
from tests.conftest import ROOT
from tests.e2e.collector import Collected, Collector, collecting

from sio_cluster.testing.http import http_client
from sio_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.ci_only, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

APP = str(ROOT / "tests/e2e/traced_app.py") + ":sio"
ENV = {
    "LEASE_MS": "6000",
    "DRAIN_MS": "200",
    "LOG_FORMAT": "json",
    "TRACE_RATIO": "1",
    "OTEL_BSP_SCHEDULE_DELAY": "100",
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """What the nodes of this file have logged."""
    return []


@pytest.fixture(scope="module")
def go_on(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traced") / "go-on"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(collector: Collector, lines: list[dict[str, Any]], go_on: Path) -> AsyncIterator[Stack]:
    def hear(name: str, line: str) -> None:
        if line.startswith("{"):
            lines.append(json.loads(line))

    env = {**ENV, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "GO_ON": str(go_on)}
    async with Stack(io_nodes=2, app_nodes=1, app=APP, port=0, env=env, on_line=hear) as stack:
        yield stack


def node_of(span: Collected) -> str:
    """The name of the node that made the span."""
    name, _, _ = span.attributes["sio.node"].rpartition("-")
    return str(name)


async def test_an_event_for_a_room_is_one_trace(
    stack: Stack, collector: Collector, lines: list[dict[str, Any]]
) -> None:
    here, there = stack.io_nodes
    async with Wire.open(here.url) as one, Wire.open(there.url) as other:
        sid = await one.join(packets=1)
        await other.join(packets=1)
        await one.send('42["shout","hello"]')
        for wire in (one, other):
            assert str(await wire.receive(60)).startswith('42["shouted","hello"')
        async with http_client() as http:
            await http.get(f"{stack.app_nodes[0].url}/readyz")
    await collector.until(lambda: len(collector.spans) >= 6 and collector.named("process shout"))
    [receive], [process], [own] = (
        collector.named("receive"),
        collector.named("process shout"),
        collector.named("look up"),
    )
    [publish], deliver = collector.named("publish"), collector.named("deliver")
    assert len(collector.spans) == 6, "nothing else, no health check either"
    assert {span.trace_id for span in collector.spans} == {receive.trace_id}
    assert receive.parent == ""
    assert process.parent == receive.span_id
    assert own.parent == publish.parent == process.span_id
    assert [span.parent for span in deliver] == [publish.span_id] * 2
    assert [span.service for span in (receive, process, own, publish, *deliver)] == [
        "io-node", "app-node", "app-node", "app-node", "io-node", "io-node"
    ]  # fmt: skip
    assert node_of(receive) == here.name
    assert sorted(map(node_of, deliver)) == sorted([here.name, there.name])
    assert [span.attributes["sio.recipients"] for span in deliver] == [1, 1]
    assert (receive.attributes["sio.sid"], process.attributes["sio.sid"]) == (sid, sid)
    assert process.attributes["sio.redelivered"] is False
    assert 0 <= process.attributes["sio.lane_wait_ms"] < 10_000
    assert [span.attributes["sio.event"] for span in (receive, process, publish)] == ["shout", "shout", "shouted"]
    [line] = [line for line in lines if line["event"] == "shouting"]
    assert (line["trace_id"], line["span_id"]) == (own.trace_id, own.span_id)


@pytest.mark.ci_only
async def test_an_event_that_is_handled_again_is_one_trace(
    stack: Stack, collector: Collector, lines: list[dict[str, Any]], go_on: Path
) -> None:
    """The app-node dies when its handler has ended, and before Redis knows that: Redis takes nothing for a while."""
    redis = Redis.from_url(stack.redis_url)
    async with Wire.open(stack.io_nodes[0].url) as wire:
        await wire.join(packets=1)
        await wire.send('42["work"]')
        await collector.until(lambda: any(line["event"] == "working" for line in lines))
        await redis.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        await asyncio.to_thread(go_on.touch)
        await collector.until(lambda: collector.named("process work"))
        await stack.stop_app_node(0, signal.SIGKILL)
        await redis.execute_command("CLIENT", "UNPAUSE")
        await redis.aclose()
        await stack.start_app_node()
        await collector.until(lambda: len(collector.named("process work")) == 2)
    first, second = collector.named("process work")
    [receive] = [span for span in collector.named("receive") if span.attributes["sio.event"] == "work"]
    assert first.trace_id == second.trace_id == receive.trace_id
    assert first.parent == second.parent == receive.span_id
    assert first.attributes["sio.node"] != second.attributes["sio.node"]
    assert [span.attributes["sio.redelivered"] for span in (first, second)] == [False, True]
    assert second.attributes["sio.lane_wait_ms"] > first.attributes["sio.lane_wait_ms"]
