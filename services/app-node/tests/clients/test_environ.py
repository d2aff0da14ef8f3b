"""The `environ` of a connection."""

from app_node.clients.environ import environ_of
from sio_cluster.protocol.messages import Handshake


def test_environ() -> None:
    headers = [
        ("host", "h:8080"), ("cookie", "a=1"), ("x-a", "1"), ("x-a", "2"), ("content-type", "t"),
        ("x-forwarded-proto", "https"),
    ]  # fmt: skip
    environ = environ_of(Handshake("GET", "/socket.io/caf%C3%A9", "EIO=4", headers, "10.0.0.1", 5))
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"] == "/socket.io/caf\u00e9"
    assert environ["RAW_URI"] == "/socket.io/caf%C3%A9?EIO=4"
    assert environ["QUERY_STRING"] == "EIO=4"
    assert environ["HTTP_COOKIE"] == "a=1"
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["CONTENT_TYPE"] == "t"
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("10.0.0.1", "5")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("h", "8080")
    assert environ["wsgi.url_scheme"] == "https"
    scope = environ["asgi.scope"]
    assert (scope["path"], scope["query_string"]) == ("/socket.io/caf\u00e9", b"EIO=4")
    assert (b"cookie", b"a=1") in scope["headers"]
