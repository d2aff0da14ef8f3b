"""Prometheus' own tool has nothing against the rules and the metrics, and each alert fires when it should."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from loadtest.reporting.exposition import exposition as exposition_of_load_test
from observe.tests.alarms import ALARMS, HEALTHY, Alarm
from observe.tests.known import SECOND
from observe.tests.rule_files import FILES, FOLDER
from observe.tests.tools import promtool
from tests.docs.exported import families

from sio_cluster.node.monitoring.metrics import exposition, exposition_of_process

pytestmark = [pytest.mark.observe, pytest.mark.timeout(600)]


def test_the_rules_are_well_formed() -> None:
    promtool("check", "rules", *map(str, FILES))


def test_the_configuration_is_well_formed() -> None:
    promtool("check", "config", "--syntax-only", str(FOLDER / "prometheus.yml"))


def test_the_metrics_follow_prometheus_customs() -> None:
    promtool("check", "metrics", stdin=exposition(families()) + exposition_of_process())


def test_so_do_those_of_a_load_test() -> None:
    promtool("check", "metrics", stdin=exposition_of_load_test(SECOND).encode())


def test_each_alert_fires_for_its_alarm_and_for_no_other(tmp_path: Path) -> None:
    healthy = Alarm("", {})
    tests = [_test(alarm) for alarm in (healthy, *ALARMS)]
    file = tmp_path / "alarms.json"
    file.write_text(json.dumps({"rule_files": [*map(str, FILES)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", str(file))


def _test(alarm: Alarm) -> dict[str, Any]:
    """One of promtool's tests. After half an hour just this alert fires."""
    series = HEALTHY | alarm.series
    return {
        "name": f"{alarm.alert}: {alarm.series}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items() if values],
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "30m",
                "exp_samples": _fired([alarm.alert] if alarm.alert else []),
            }
        ],
    }


def _fired(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names]
