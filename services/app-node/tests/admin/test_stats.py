"""A node as the page of the Admin UI wants it."""

from app_node.admin.stats import Traffic, server_stats
from sio_cluster.protocol.figures import Figures

NODE = "io1-aaaaaa"


def test_an_io_node() -> None:
    figures = Figures(connections=7, polling=2, namespaces={"/": 5, "/chat": 3})
    info = {"host": "web1", "pid": "42", "since": "1000", **figures.encoded()}
    assert server_stats(NODE, info, ["/", "/admin", "/chat"], Traffic(), 1_060.7) == {
        "serverId": NODE,
        "hostname": "web1",
        "pid": 42,
        "uptime": 60,
        "clientsCount": 7,
        "pollingClientsCount": 2,
        "aggregatedEvents": [],
        "namespaces": [
            {"name": "/", "socketsCount": 5},
            {"name": "/admin", "socketsCount": 0},
            {"name": "/chat", "socketsCount": 3},
        ],
    }


def test_a_node_that_says_little() -> None:
    stats = server_stats("app1-bbbbbb", {"state": "running"}, ["/"], Traffic(), 1_060.7)
    assert (stats["hostname"], stats["pid"], stats["uptime"], stats["clientsCount"]) == ("", 0, 0, 0)
    assert stats["namespaces"] == [{"name": "/", "socketsCount": 0}]


def test_the_traffic_since_the_last_look() -> None:
    traffic = Traffic()
    before = Figures(opened=5, closed={"transport close": 2}, packets_in=10, bytes_in=100, bytes_out=50)
    assert traffic.since_last(NODE, before, 1) == []
    now = Figures(opened=8, closed={"transport close": 2, "ping timeout": 1}, packets_in=14, bytes_in=100, bytes_out=80)
    assert traffic.since_last(NODE, now, 2_000) == [
        {"timestamp": 2_000, "type": "rawConnection", "count": 3},
        {"timestamp": 2_000, "type": "packetsIn", "count": 4},
        {"timestamp": 2_000, "type": "bytesOut", "count": 30},
        {"timestamp": 2_000, "type": "rawDisconnection", "subType": "ping timeout", "count": 1},
    ]
    assert traffic.since_last(NODE, now, 3_000) == []


def test_a_node_that_is_gone_is_forgotten() -> None:
    traffic = Traffic()
    traffic.since_last(NODE, Figures(opened=5), 1)
    traffic.forget_others({})
    assert traffic.since_last(NODE, Figures(opened=9), 2) == []
