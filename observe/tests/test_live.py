"""A real Prometheus asks a cluster under a small load: all panels and rules get data, and the counters balance."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from observe.__main__ import files
from observe.tests.expressions import metrics_of, selectors_of
from observe.tests.grafana import Board
from observe.tests.outside import outsiders
from observe.tests.prometheus import Prometheus, prometheus
from observe.tests.rule_files import alerts, recorded, rules
from observe.tests.tools import promtool, tool
from tests.conftest import ROOT
from tests.e2e.load import Load

from sio_stack import Stack

pytestmark = [pytest.mark.observe, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

APP = str(ROOT / "tests/e2e/app.py") + ":sio"
WITHIN_S = 120.0
ENV = {"LEASE_MS": "30000", "HANDLER_BLOCK_MS": "20000", "NODE_TIMEOUT_MS": "60000"}
"""A busy machine may stop a node for seconds. That must not look like a fault: `test_..._nothing_fires`."""

JOBS = ("io-node", "app-node", "api", "bridge")

FAULTS = {
    "ALERTS",
    "sio_app_facts_refused_total",
    "sio_app_facts_abandoned_total",
    "sio_app_commands_dropped_total",
    "sio_app_acks_refused_total",
    "sio_app_redis_retries_total",
    "sio_bridge_redis_retries_total",
}
"""What has no series until a fault has happened, since it has a label. None happens here."""


@dataclass(frozen=True)
class Watched:
    targets: dict[str, list[str]]
    """What it asks: `job -> host:port`."""
    prometheus: Prometheus


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    """A cluster that has had some clients, and has some still. An API and a bridge, which somebody uses."""
    tool("prometheus")
    async with Stack(io_nodes=2, app_nodes=2, app=APP, env=ENV) as stack:
        targets = {
            "io-node": [f"127.0.0.1:{node.port}" for node in stack.io_nodes],
            "app-node": [f"127.0.0.1:{node.port}" for node in stack.app_nodes],
        }
        async with (
            outsiders(stack.redis_url, tmp_path_factory.mktemp("outside")) as outside,
            prometheus(targets := targets | outside, tmp_path_factory.mktemp("prometheus")) as asked,
        ):
            urls = [node.url for node in stack.io_nodes]
            async with Load(urls, 10, 10) as left:
                await left.progress(events=5, within_s=WITHIN_S)
            async with Load(urls, 20, 10) as load:
                for client in load.clients:
                    client.connection.send(b'42["shout","hello"]')
                await load.progress(events=20, within_s=WITHIN_S)
                yield Watched(targets, asked)


async def test_every_panel_has_data(watched: Watched) -> None:
    boards = [Board.model_validate_json(text) for text in files().values()]
    asked = {target.expr for board in boards for chart in board.charts() for target in chart.targets}
    await _all_have_data(watched, {expression for expression in asked if not metrics_of(expression) <= FAULTS})
    for expression in asked:
        await watched.prometheus.query(_filled_in(expression))


async def test_every_rule_has_what_it_compares(watched: Watched) -> None:
    compared = {selector for rule in rules() for selector in selectors_of(rule.expr)} | recorded()
    absent = {selector for selector in compared if metrics_of(selector) <= FAULTS}
    await _all_have_data(watched, compared - absent)


async def test_every_rule_can_be_evaluated_and_nothing_fires(watched: Watched) -> None:
    found = await watched.prometheus.rules()
    assert sorted(rule["name"] for rule in found) == sorted(rule.name for rule in rules())
    assert [rule for rule in found if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in found if rule.get("state") == "firing"] == []
    assert len([rule for rule in found if rule["type"] == "alerting"]) == len(alerts())


async def test_every_process_says_that_it_is_ready(watched: Watched) -> None:
    """That alert waits two minutes before it fires, so nobody would see here that it is going to."""
    [unready] = [rule for rule in alerts() if rule.alert == "SioNodeUnready"]
    await _all_have_data(watched, {f'{{__name__=~"sio_.+_ready", job="{job}"}} == 1' for job in JOBS})
    assert await watched.prometheus.query(unready.expr) == {}


async def test_the_counters_of_every_node_balance_under_load(watched: Watched) -> None:
    await _all_have_data(watched, {"instance:sio_unaccounted"})
    series = await watched.prometheus.query("instance:sio_unaccounted")
    assert len(series) == 12, "two equations of each of four nodes, of the API and of the bridge"
    for extreme in ("min", "max"):
        assert set((await watched.prometheus.query(f"{extreme}_over_time(instance:sio_unaccounted[5m])")).values()) == {
            0
        }


async def test_promtool_has_nothing_against_what_processes_answer(watched: Watched) -> None:
    """Nodes, the API and the bridge."""
    for job, addresses in watched.targets.items():
        for address in addresses:
            metrics = await watched.prometheus.http.get(f"http://{address}/metrics")
            assert metrics.status_code == 200, job
            await asyncio.to_thread(promtool, "check", "metrics", stdin=metrics.content)


async def _all_have_data(watched: Watched, expressions: set[str]) -> None:
    """Waits until each of them gives a number: rates need some seconds."""
    missing, ends_at = sorted(expressions), time.monotonic() + WITHIN_S
    while missing := [one for one in missing if not await watched.prometheus.has_data(_filled_in(one))]:
        assert time.monotonic() < ends_at, "no data for\n" + "\n".join(missing)
        await asyncio.sleep(0.5)


def _filled_in(expression: str) -> str:
    """What Grafana puts in the place of its variables."""
    return expression.replace("$__rate_interval", "10s").replace("$instance", ".*")
