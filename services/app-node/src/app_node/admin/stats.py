"""A node as the page wants it: `server_stats`. Io-nodes and app-nodes are both servers there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sio_cluster.protocol.figures import Figures

Infos = Mapping[str, Mapping[str, str]]


class Traffic:
    """What came between two looks at the same node: the page adds these up."""

    def __init__(self) -> None:
        self._before: dict[str, Figures] = {}

    def since_last(self, node: str, figures: Figures | None, now_ms: int) -> list[dict[str, Any]]:
        """Nothing at the first look. `now_ms`: since 1970."""
        before = self._before.get(node)
        if figures is None:
            return []
        self._before[node] = figures
        return [] if before is None else list(_differences(before, figures, now_ms))

    def forget_others(self, nodes: Infos) -> None:
        """Keeps what is known of these nodes alone."""
        self._before = {node: figures for node, figures in self._before.items() if node in nodes}


def server_stats(
    node: str, info: Mapping[str, str], namespaces: Sequence[str], traffic: Traffic, now_s: float
) -> dict[str, Any]:
    """`namespaces`: the same ones for each node, since the page adds them up by their place in the list."""
    figures = Figures.decoded(info)
    here = figures or Figures()
    return {
        "serverId": node,
        "hostname": info.get("host", ""),
        "pid": _number(info.get("pid")),
        "uptime": max(0, int(now_s) - since) if (since := _number(info.get("since"))) else 0,
        "clientsCount": here.connections,
        "pollingClientsCount": here.polling,
        "aggregatedEvents": traffic.since_last(node, figures, int(now_s * 1000)),
        "namespaces": [{"name": name, "socketsCount": here.namespaces.get(name, 0)} for name in namespaces],
    }


def _differences(before: Figures, now: Figures, now_ms: int) -> Iterator[dict[str, Any]]:
    for kind, earlier, later in (
        ("rawConnection", before.opened, now.opened),
        ("packetsIn", before.packets_in, now.packets_in),
        ("packetsOut", before.packets_out, now.packets_out),
        ("bytesIn", before.bytes_in, now.bytes_in),
        ("bytesOut", before.bytes_out, now.bytes_out),
    ):
        if later > earlier:
            yield {"timestamp": now_ms, "type": kind, "count": later - earlier}
    for reason, later in now.closed.items():
        earlier = before.closed.get(reason, 0)
        if later > earlier:
            yield {"timestamp": now_ms, "type": "rawDisconnection", "subType": reason, "count": later - earlier}


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0
