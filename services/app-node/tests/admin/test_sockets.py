"""A client as the page of the Admin UI wants it."""

import json

from app_node.admin.sockets import serialized
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.records import ClientRecord

SECRET = "hunter2"
SID = "io1-aaaaaa.0123456789abcdef"


def record(headers: list[tuple[str, str]], query: str = "", path: str = "/socket.io/") -> ClientRecord:
    handshake = Handshake("GET", path, query, headers, "10.1.2.3", 99, "https")
    connected = ClientConnected(
        SID, "c1", "/chat", json.dumps({"token": SECRET, "pid": SECRET}).encode(), handshake, "polling", b"hash"
    )
    return ClientRecord(
        connected, SECRET.encode(), {"b", 7, "a"}, accepted=True, transport="websocket", connected_at=1_700_000_000.5
    )


def test_what_it_says() -> None:
    headers = [("host", "example.org"), ("user-agent", "é".encode().decode("latin-1")), ("origin", "https://x.org")]
    assert serialized(record(headers, "EIO=4&transport=polling&room=a%20b")) == {
        "id": SID,
        "clientId": "c1",
        "transport": "websocket",
        "nsp": "/chat",
        "data": {},
        "handshake": {
            "address": "10.1.2.3",
            "headers": {"host": "example.org", "user-agent": "é", "origin": "https://x.org"},
            "query": {"EIO": "4", "transport": "polling", "room": "a b"},
            "issued": 1_700_000_000_500,
            "secure": True,
            "time": "2023-11-14T22:13:20.500Z",
            "url": "/socket.io/",
            "xdomain": True,
        },
        "rooms": [SID, 7, "a", "b"],
    }


def test_no_secret_is_in_it() -> None:
    names = (
        *("cookie", "authorization", "proxy-authorization", "x-api-key", "x-auth-token", "x-session", "x-csrf-token"),
        *("cf-access-jwt-assertion", "x-goog-iap-jwt-assertion", "x-amzn-oidc-data", "x-access-key"),
    )
    parts = ("sid", "pid", "token", "access_token", "password", "key", "ticket")
    query = "&".join(f"{name}={SECRET}" for name in parts) + "&x=1"
    shown = serialized(record([(name, f"a {SECRET}") for name in names], query))
    assert SECRET not in json.dumps(shown)
    assert set(shown["handshake"]["headers"]) == set(names)
    assert shown["handshake"]["query"]["x"] == "1"


def test_an_address_in_a_header_is_shown_without_its_query() -> None:
    shown = serialized(record([("referer", f"https://example.org/chat?invitation={SECRET}")]))
    assert shown["handshake"]["headers"] == {"referer": "https://example.org/chat?(hidden)"}


def test_it_is_not_larger_than_the_page_can_stand() -> None:
    headers = [(f"h{number}", "x" * 5_000) for number in range(1_000)]
    query = "&".join(f"q{number}={'y' * 100}" for number in range(1_000))
    assert len(json.dumps(serialized(record(headers, query, "/" + "z" * 5_000)))) < 6_000
    assert len(json.dumps(serialized(record([("n" * 60_000, "x")])))) < 6_000
    crowded = record([])
    crowded.rooms = {*range(100_000)}
    assert len(serialized(crowded)["rooms"]) == 201


def test_who_connected_before_times_were_kept() -> None:
    old = record([])
    old.connected_at = None
    assert serialized(old)["handshake"]["issued"] == 0
