"""Rules name only what is there: metrics and their labels, and sections of the documentation."""

from collections import Counter

import pytest
from observe.tests.alarms import ALARMS
from observe.tests.expressions import labels_of, metrics_of
from observe.tests.known import TARGET_LABELS, known
from observe.tests.rule_files import Rule, alerts, rules
from tests.conftest import ROOT
from tests.docs.pages import Page

ALL_RULES = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
ALL_ALERTS = pytest.mark.parametrize("alert", alerts(), ids=lambda rule: rule.name)


@ALL_RULES
def test_its_metrics_and_labels_exist(rule: Rule) -> None:
    named, have = metrics_of(rule.expr), known()
    assert named
    assert named <= set(have)
    assert labels_of(rule.expr) <= TARGET_LABELS.union(*(have[name] for name in named))


@ALL_ALERTS
def test_its_runbook_is_a_section_of_the_documentation(alert: Rule) -> None:
    path, _, anchor = alert.annotations["runbook"].partition("#")
    assert anchor in Page(ROOT / path).anchors()


@ALL_ALERTS
def test_it_is_found_among_the_symptoms(alert: Rule) -> None:
    """Where its runbook is that table, whose rows are long, the row names it."""
    path, _, anchor = alert.annotations["runbook"].partition("#")
    if anchor == "by-symptom":
        section = (ROOT / path).read_text().partition("\n## By symptom\n")[2].partition("\n## ")[0]
        symptoms = [row.split(" | ")[0] for row in section.splitlines() if row.startswith("|")]
        assert [symptom for symptom in symptoms if f"`{alert.alert}`" in symptom]


@ALL_ALERTS
def test_it_says_how_bad_it_is_and_what_has_happened(alert: Rule) -> None:
    assert alert.labels["severity"] in ("critical", "warning")
    assert alert.annotations["summary"]
    assert alert.alert.startswith("Sio")


def test_each_alert_has_its_own_name() -> None:
    assert [name for name, count in Counter(rule.alert for rule in alerts()).items() if count > 1] == []


def test_each_alert_has_an_alarm_that_is_tried() -> None:
    """test_promtool.py lets each of them ring."""
    assert {alarm.alert for alarm in ALARMS} - {""} == {rule.alert for rule in alerts()}


def test_the_ledger_has_every_equation_of_the_documentation() -> None:
    """Each line of docs/reliability.md, and in it every metric."""
    page = (ROOT / "docs/reliability.md").read_text()
    block = page.partition("\n## The counters that must balance\n")[2].partition("```")[2].partition("```")[0]
    written, prefix = [], ""
    for line in block.strip().splitlines():
        prefix = {"io-node": "sio_io_", "app-node": "sio_app_"}.get(line.split()[0], prefix)
        words = line.replace("io-node", "").replace("app-node", "").replace("=", "+").split("+")
        written.append({f"{prefix}{word.strip()}".removesuffix("_total") for word in words})
    ledger = [rule for rule in rules() if rule.record == "instance:sio_unaccounted"]
    evaluated = [{name.removesuffix("_total") for name in metrics_of(rule.expr)} for rule in ledger]
    assert sorted(map(sorted, written)) == sorted(map(sorted, evaluated))
