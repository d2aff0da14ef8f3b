"""The metrics that nodes, the HTTP API and bridges export."""

from dataclasses import MISSING, fields
from typing import Any

from app_node.api.metrics import ApiCounters
from app_node.api.metrics import families as api_families
from app_node.bridge.counters import BridgeCounters
from app_node.bridge.metrics import families as bridge_families
from app_node.counters import Counters
from app_node.metrics import Levels as AppLevels
from app_node.metrics import families as app_families
from io_node.bus.counters import BusCounters
from io_node.durations import Durations
from io_node.engineio.counters import EngineCounters
from io_node.metrics import Counts
from io_node.metrics import Levels as IoLevels
from io_node.metrics import families as io_families
from io_node.socketio.counters import ClientCounters
from sio_cluster.node.monitoring.metrics import AnyFamily, Family, HistogramFamily


def families() -> list[AnyFamily]:
    """Those of every kind of process, of which nothing was counted yet."""
    counts = Counts(ClientCounters(), BusCounters(), EngineCounters(), Durations(), 0)
    io_levels, app_levels = IoLevels(**_nothing(IoLevels)), AppLevels(**_nothing(AppLevels))
    return [
        *io_families(counts, io_levels),
        *app_families(Counters(), app_levels),
        *api_families(ApiCounters()),
        *bridge_families(BridgeCounters(), ready=True, active=True),
    ]


def exported() -> set[str]:
    """All names under which there are values: a histogram has three of them besides its own."""
    histograms = {family.name for family in families() if isinstance(family, HistogramFamily)}
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
    return {exported_name(family) for family in families()} | parts


def exported_name(family: AnyFamily) -> str:
    """Its name on /metrics."""
    return f"{family.name}_total" if isinstance(family, Family) and family.kind == "counter" else family.name


def _nothing(levels: type) -> dict[str, Any]:
    """Nought for each field that has no default."""
    return {field.name: 0 for field in fields(levels) if field.default is MISSING}
