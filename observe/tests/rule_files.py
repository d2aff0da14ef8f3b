"""The rules of observe/prometheus/rules."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent.parent / "prometheus"
FILES = sorted((FOLDER / "rules").glob("*.yml"))

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # all workers read these files when they collect


@dataclass(frozen=True)
class Rule:
    """An alert has `alert`, what is recorded has `record`."""

    expr: str
    alert: str = ""
    record: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.alert or self.record


def content(file: Path) -> Any:
    return yaml.load(file.read_text(), _LOADER)


@cache
def rules() -> list[Rule]:
    fields = Rule.__dataclass_fields__
    read = [group for file in FILES for group in content(file)["groups"]]
    return [Rule(**{key: rule[key] for key in rule if key in fields}) for group in read for rule in group["rules"]]


def alerts() -> list[Rule]:
    return [rule for rule in rules() if rule.alert]


def recorded() -> set[str]:
    return {rule.record for rule in rules() if rule.record}
