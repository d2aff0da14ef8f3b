"""What happened to clients between two looks, as the page hears it."""

from typing import Any

from app_node.admin.differences import changes, shown

AT = "1970-01-01T00:00:01.000Z"


def client(sid: str, *rooms: Any, transport: str = "polling") -> dict[str, Any]:
    return {"id": sid, "nsp": "/chat", "transport": transport, "rooms": [sid, *rooms]}


def told(before: list[dict[str, Any]], now: list[dict[str, Any]], displaced: tuple[str, ...] = ()) -> list[Any]:
    old = {one["id"]: shown(one) for one in before}
    return [*changes(old, {one["id"]: one for one in now}, displaced, 1.0)]


def test_where_nothing_happened_there_is_nothing_to_tell() -> None:
    assert told([client("a", "blue", 7)], [client("a", "blue", 7)]) == []


def test_clients_that_came_and_went() -> None:
    assert told([client("a")], [client("b", "blue")]) == [
        ("socket_disconnected", ("/chat", "a", "", AT)),
        ("socket_connected", (client("b", "blue"), AT)),
    ]


def test_one_that_is_only_no_longer_in_the_list_has_not_gone() -> None:
    assert told([client("a")], [], ("a",)) == []


def test_another_transport() -> None:
    assert told([client("a")], [client("a", transport="websocket")]) == [
        ("socket_updated", ({"id": "a", "nsp": "/chat", "transport": "websocket"},))
    ]


def test_a_room_that_is_joined_is_left_before() -> None:
    """The page may know of it, and would list the client twice."""
    assert told([client("a")], [client("a", "blue")]) == [
        ("room_left", ("/chat", "blue", "a", AT)),
        ("room_joined", ("/chat", "blue", "a", AT)),
    ]


def test_a_room_that_is_left() -> None:
    assert told([client("a", "blue")], [client("a")]) == [("room_left", ("/chat", "blue", "a", AT))]
