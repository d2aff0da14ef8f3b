"""Snapshots of a cluster, and what `sio-cluster top` makes of two of them."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sio_cluster.streams.redis.lane_views import InboxView, LaneView
from sio_cluster.streams.redis.largest_rooms import RoomsView, RoomView
from sio_cluster.streams.redis.overview import NodeView
from sio_cluster.top.rows import LaneRow, View, busiest, view_of
from sio_cluster.top.screen import frame
from sio_cluster.top.snapshot import Snapshot

APP, IO = "app1-aaaaaa", "io1-aaaaaa"
NODES = [
    NodeView(IO, "io-node", "alive", 3, 7, None, 10_000),
    NodeView(APP, "app-node", "alive", 3, None, [0, 1], 13_400),
]
LANES = [LaneView(lane, APP, 3, 3_400, 1, 0.5, 100, 0, 0) for lane in (0, 1)] + [
    LaneView(2, None, 40, 70_000, None, 75.0, 500, 2, 5)
]
ROOMS = RoomsView("/", 7, [RoomView("lobby", 5), RoomView(42, 2)], True)
BEFORE = Snapshot(13_600.0, NODES, {IO: InboxView(10, 1_000), APP: InboxView(0, 50)}, LANES, ROOMS)
NOW = Snapshot(
    13_602.0,
    NODES,
    {IO: InboxView(10, 1_300), APP: InboxView(0, 51)},
    [replace(lane, added=(lane.added or 0) + 10 * (lane.lane + 1)) for lane in LANES],
    ROOMS,
)


def test_rates_and_sums() -> None:
    view = view_of(BEFORE, NOW)
    io_node, app_node = view.nodes
    assert (io_node.inbox_per_s, io_node.lanes_per_s, io_node.alive_s, io_node.lanes) == (150, None, 3_602, None)
    assert (app_node.inbox_per_s, app_node.lanes_per_s, app_node.alive_s, app_node.lanes) == (0.5, 15, 202, 2)
    assert [lane.entries_per_s for lane in view.lanes] == [5, 10, 15]
    assert (view.clients, view.entries, view.entries_per_s, view.dead_letters) == (7, 46, 30, 5)
    assert view.rooms is ROOMS


def test_one_snapshot_has_no_rates() -> None:
    view = view_of(NOW, NOW)
    assert {node.inbox_per_s for node in view.nodes} | {lane.entries_per_s for lane in view.lanes} == {None}
    assert view.entries_per_s is None


@pytest.mark.parametrize(
    ("before", "rate"),
    [
        (replace(BEFORE, inboxes={}), None),
        (replace(BEFORE, inboxes={IO: InboxView(0, None)}), None),
        (replace(BEFORE, inboxes={IO: InboxView(0, 9_999)}), 0),
    ],
    ids=["a node that came", "an old Redis", "a stream that began anew"],
)
def test_what_has_no_rate(before: Snapshot, rate: float | None) -> None:
    assert view_of(before, NOW).nodes[0].inbox_per_s == rate


def test_lanes_that_came_with_another_cluster_have_no_rate() -> None:
    assert [lane.entries_per_s for lane in view_of(replace(BEFORE, lanes=LANES[:1]), NOW).lanes] == [5, None, None]


def test_the_busiest_lanes_and_those_without_a_holder_are_shown() -> None:
    quiet = LaneRow(0, APP, 0, 0, 0, 0, 0.0, 0, 0)
    lanes = [replace(quiet, lane=lane) for lane in range(100)]
    lanes[70] = replace(lanes[70], entries=5)
    lanes[80] = replace(lanes[80], holder=None)
    lanes[90] = replace(lanes[90], entries_per_s=3.0)
    assert [lane.lane for lane in busiest(lanes, 3)] == [70, 80, 90]
    assert busiest(lanes, 200) == lanes


def shown(view: View, rows: int = 16) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=120).print(frame(view, rows))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_a_frame() -> None:
    lines = shown(view_of(BEFORE, NOW))
    assert "7 clients · 30.0 entries/s into lanes · 46 wait · 5 dead letters" in lines[0]
    assert f"{IO} io-node alive 3 1 h 0 min 7 150.0" in lines
    assert f"{APP} app-node alive 3 3 min 2 0.5 15.0" in lines
    assert f"0 {APP} 3 1 3 0 s 5.0" in lines
    assert "2 nobody 40 70 1 min 15.0 2 5" in lines
    assert "room of / (7 connected) clients" in lines
    assert lines[-2:] == ["lobby 5", "42 2"]


def test_what_does_not_fit_is_counted() -> None:
    lines = shown(view_of(BEFORE, NOW), rows=1)
    assert "1 more nodes" in lines
    assert "2 more lanes, in which less waits" in lines
    cut = replace(NOW, rooms=replace(ROOMS, rooms=[], is_complete=False))
    assert shown(view_of(BEFORE, cut))[-2:] == ["none", "of some: there are too many to look at all"]
    assert "being built anew" in shown(view_of(BEFORE, replace(NOW, rooms=None)))[-1]


def test_names_of_clients_rooms_cannot_write_on_the_terminal() -> None:
    evil = replace(ROOMS, rooms=[RoomView("[red]\x1b[31mx", 1)])
    assert shown(view_of(BEFORE, replace(NOW, rooms=evil)))[-1] == r"[red]\x1b[31mx 1"


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.9, "7 s"), (60, "1 min"), (3_600 * 3 + 300, "3 h 5 min"), (86_400 * 2 + 14_400, "2 d 4 h")]
)
def test_ages(seconds: float, text: str) -> None:
    node = replace(NODES[0], alive_since=int(NOW.time_s))
    later = replace(NOW, time_s=NOW.time_s + seconds, nodes=[node])
    assert any(f"alive 3 {text} 7" in line for line in shown(view_of(later, later)))
