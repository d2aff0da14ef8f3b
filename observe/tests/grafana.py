"""The part of Grafana's dashboards that is used here. Anything else is an error."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Nothing = Annotated[Sequence[None], Field(max_length=0)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Source(Strict):
    type: Literal["prometheus"]
    uid: Literal["prometheus"]


class Place(Strict):
    x: int = Field(ge=0, lt=24)
    y: int = Field(ge=0)
    w: int = Field(ge=1, le=24)
    h: int = Field(ge=1)


class Target(Strict):
    refId: str = Field(pattern="^[A-Z]$")
    datasource: Source
    expr: Text
    legendFormat: str
    format: Literal["table", "heatmap"] | None = None
    instant: bool = False


class Step(Strict):
    color: Literal["green", "yellow", "red"]
    value: int | None


class Thresholds(Strict):
    mode: Literal["absolute"]
    steps: list[Step]


class Stacking(Strict):
    group: Literal["A"]
    mode: Literal["normal"]


class Custom(Strict):
    fillOpacity: int
    lineWidth: int
    showPoints: Literal["never"]
    stacking: Stacking | None = None


class Defaults(Strict):
    unit: Literal["short", "s", "bytes", "percentunit", "cps"] | None = None
    min: int | None = None
    custom: Custom | None = None
    thresholds: Thresholds | None = None


class FieldConfig(Strict):
    defaults: Defaults
    overrides: Nothing


class Box(Strict):
    """What every panel has."""

    id: int
    gridPos: Place
    title: Text


class Heading(Box):
    type: Literal["row"]
    collapsed: Literal[False]
    panels: Nothing


class Words(Box):
    type: Literal["text"]
    options: dict[Literal["content", "mode"], str]


class Chart(Box):
    type: Literal["timeseries", "stat", "table", "heatmap"]
    description: str
    datasource: Source
    fieldConfig: FieldConfig
    options: dict[str, Any]
    targets: list[Target] = Field(min_length=1)
    transformations: list[dict[str, Any]] = []


Panel = Annotated[Heading | Words | Chart, Field(discriminator="type")]


class Variable(Strict):
    name: Literal["instance"]
    type: Literal["query"]
    label: Text
    datasource: Source
    definition: Text
    query: dict[Literal["query", "refId"], str]
    current: dict[str, Any]
    allValue: Literal[".*"]
    includeAll: Literal[True]
    multi: Literal[True]
    refresh: Literal[2]
    sort: Literal[1]


class Variables(Strict):
    list: Sequence[Variable]


class Annotations(Strict):
    list: Nothing


class Range(Strict):
    from_: Text = Field(alias="from")
    to: Text


class Board(Strict):
    uid: str = Field(pattern="^[a-z-]{1,40}$")
    title: Text
    description: Text
    panels: list[Panel]
    templating: Variables
    annotations: Annotations
    links: list[dict[str, Any]]
    tags: list[Text]
    time: Range
    refresh: Text
    timezone: Literal["browser"]
    schemaVersion: Literal[39]
    version: Literal[1]
    id: None
    editable: Literal[False]
    graphTooltip: Literal[1]

    def charts(self) -> list[Chart]:
        return [panel for panel in self.panels if isinstance(panel, Chart)]
