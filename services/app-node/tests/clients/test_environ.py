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
    assert environ["RAW_URI"] == "/socket.io/caf\u00e9?EIO=4"
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


def latin(data: bytes) -> str:
    """As an io-node hands bytes over."""
    return data.decode("latin-1")


def handshake(path: str = "/socket.io/", query: bytes = b"EIO=4", **headers: bytes) -> Handshake:
    lines = [(name.replace("_", "-"), latin(value)) for name, value in headers.items()]
    return Handshake("GET", path, latin(query), lines, "10.0.0.1", 5)


def test_headers_and_query_are_read_as_utf_8() -> None:
    environ = environ_of(
        handshake(query="name=Zoë".encode(), x_name="Jürgen 日本".encode(), cookie="user=Zoë".encode())
    )
    assert environ["HTTP_X_NAME"] == "Jürgen 日本"
    assert environ["HTTP_COOKIE"] == "user=Zoë"
    assert environ["QUERY_STRING"] == "name=Zoë"
    assert environ["RAW_URI"] == "/socket.io/?name=Zoë"


def test_what_is_not_utf_8_is_left_out() -> None:
    environ = environ_of(handshake(query=b"name=\xff", x_raw=b"a\xa0b", x_good=b"ok"))
    assert "HTTP_X_RAW" not in environ
    assert environ["HTTP_X_GOOD"] == "ok"
    assert (environ["QUERY_STRING"], environ["RAW_URI"]) == ("", "/socket.io/")


def test_the_scope_has_the_bytes_as_they_came() -> None:
    scope = environ_of(handshake("/socket.io/%2541", b"name=\xff", x_raw=b"a\xa0b"))["asgi.scope"]
    assert (scope["path"], scope["raw_path"]) == ("/socket.io/%41", b"/socket.io/%2541")
    assert scope["query_string"] == b"name=\xff"
    assert scope["headers"] == [(b"x-raw", b"a\xa0b")]
