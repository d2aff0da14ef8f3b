"""Clients that are not here, and their rooms."""

from io_node.socketio.absent import Absent
from sio_cluster.protocol.messages import Room


def test_rooms_of_the_absent() -> None:
    absent = Absent(lambda: 0.0)
    absent.put("ann", "/", {"red"}, 0)
    absent.put("bob", "/", {"red", "blue"}, 0)
    absent.put("eve", "/other", {"red"}, 0)
    absent.join("ann", "blue")
    absent.join("nobody", "blue")
    absent.leave("bob", "blue")
    absent.leave("bob", "never")
    absent.leave("nobody", "red")
    assert set(absent.close("/", "red")) == {"ann", "bob"}
    assert set(absent.close("/", "red")) == set()
    assert set(absent.close("/", "blue")) == {"ann"}
    assert set(absent.close("/other", "red")) == {"eve"}
    assert len(absent) == 3
    for sid in ("ann", "bob", "eve", "nobody"):
        absent.remove(sid)
    assert len(absent) == 0
    assert absent._members == {}


def test_who_leaves_twice_has_the_rooms_of_the_last_time() -> None:
    absent = Absent(lambda: 0.0)
    absent.put("ann", "/", {"red"}, 0)
    absent.put("ann", "/", {"blue"}, 1)
    assert not absent.close("/", "red")
    assert absent.close("/", "blue")


def test_those_whom_redis_does_not_know_are_forgotten_after_a_while() -> None:
    now = 0.0
    absent = Absent(lambda: now)
    absent.put("ann", "/", {"red"}, 0)
    absent.put("bob", "/", {"red"}, 0)
    now = 60.0
    absent.put("cem", "/", set(), 0)
    absent.forget_others({"bob"}, 61)
    assert len(absent) == 3
    now = 70.0
    absent.forget_others({"bob"}, 61)
    assert "ann" not in absent
    assert "bob" in absent
    assert "cem" in absent
    assert set(absent.close("/", "red")) == {"bob"}


def test_who_was_let_in_elsewhere() -> None:
    absent = Absent(lambda: 0.0)
    absent.put("ann", "/", {"red"}, 0)
    absent.let_in("ann", 0)  # the connection that was here
    assert not absent.is_elsewhere("ann")
    absent.let_in("ann", 1)
    assert absent.is_elsewhere("ann")
    absent.let_in("ann", 0)  # again, after an app-node died
    assert absent.is_elsewhere("ann")
    absent.left_again("ann", 2)  # it came back here, and left before it was let in
    assert absent.is_elsewhere("ann")
    absent.let_in("ann", 2)
    assert not absent.is_elsewhere("ann")
    absent.let_in("ann", 3)
    absent.put("ann", "/", {"red"}, 4)
    assert not absent.is_elsewhere("ann")
    absent.let_in("ann", 5)
    absent.remove("ann")
    assert not absent.is_elsewhere("ann")


def test_one_that_was_forgotten_here_and_is_let_in_elsewhere() -> None:
    """Its half-open connection ended here for good after it was claimed back."""
    absent = Absent(lambda: 0.0)
    absent.let_in("ann", 0)
    assert "ann" not in absent
    absent.let_in("ann", 1)
    assert absent.is_elsewhere("ann")
    absent.remove("ann")
    assert len(absent) == 0
    assert not absent.is_elsewhere("ann")


def test_which_rooms_have_absent_members() -> None:
    touched: set[Room] = set()
    absent = Absent(lambda: 0.0, touched)
    absent.put("ann", "/", {"red", "blue"}, 0)
    absent.put("eve", "/other", {"red"}, 0)
    assert set(absent.rooms()) == {"red", "blue"}
    assert not absent.is_empty("red")
    assert absent.is_empty("green")
    absent.leave("ann", "red")
    assert not absent.is_empty("red"), "eve is in it, in another namespace"
    absent.close("/other", "red")
    assert absent.is_empty("red")
    assert touched == {"red"}
    absent.remove("ann")
    assert touched == {"red", "blue"}
    assert set(absent.rooms()) == set()


def test_the_rooms_of_who_was_let_in_elsewhere_and_forgotten_here_are_unknown() -> None:
    absent = Absent(lambda: 0.0)
    absent.put("bob", "/", {"red"}, 0)
    absent.let_in("bob", 1)
    assert absent.knows_all_rooms
    absent.let_in("ann", 1)
    assert not absent.knows_all_rooms
    absent.remove("ann")
    assert absent.knows_all_rooms
