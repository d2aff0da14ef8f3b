"""What `connect` handlers get as `environ`, built from the client's `Handshake`.

It has the keys and values that python-socketio gives behind an ASGI server (engineio/async_drivers/asgi.py): headers
and query are read as UTF-8, a header that is not UTF-8 is left out, and such a query reads as empty. Only the two
callables of an ASGI request, `asgi.receive` and `asgi.send`, are missing: the request is on the io-node.
"""

import sys
from typing import Any
from urllib.parse import unquote

from sio_cluster.protocol.messages import Handshake


def environ_of(handshake: Handshake) -> dict[str, Any]:
    """A fresh dict that the application may change."""
    path, query = unquote(handshake.path), _utf8(handshake.query) or ""
    environ: dict[str, Any] = {
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.async": True,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "SERVER_SOFTWARE": "asgi",
        "REQUEST_METHOD": handshake.method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "RAW_URI": f"{path}?{query}" if query else path,
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": f"HTTP/{handshake.http_version}",
        "REMOTE_ADDR": handshake.remote_addr,
        "REMOTE_PORT": str(handshake.remote_port),
        "asgi.scope": _scope(handshake, path),
    }
    environ["SERVER_NAME"], environ["SERVER_PORT"] = _server(handshake)
    for name, latin in handshake.headers:
        key, value = _key(name), _utf8(latin)
        if value is not None:
            environ[key] = f"{environ[key]},{value}" if key.startswith("HTTP_") and key in environ else value
    environ["wsgi.url_scheme"] = environ.get("HTTP_X_FORWARDED_PROTO", handshake.scheme)
    return environ


def _utf8(latin: str) -> str | None:
    """The text whose bytes stand in `latin`, one in each character. None if they are not UTF-8."""
    try:
        return latin.encode("latin-1").decode()
    except UnicodeDecodeError:
        return None


def _key(name: str) -> str:
    upper = name.upper().replace("-", "_")
    return upper if upper in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{upper}"


def _server(handshake: Handshake) -> tuple[str, str]:
    """Name and port from the Host header. Without one: `asgi` and `0`, as python-socketio has it."""
    host = next((value for name, value in handshake.headers if name == "host"), "")
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return name, port
    if not host:
        return "asgi", "0"
    return host, "443" if handshake.scheme in ("https", "wss") else "80"


def _scope(handshake: Handshake, path: str) -> dict[str, Any]:
    """The ASGI scope of the request, as far as it is data (asgi.readthedocs.io, HTTP connection scope)."""

    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": handshake.http_version,
        "method": handshake.method,
        "scheme": handshake.scheme,
        "path": path,
        "raw_path": handshake.path.encode("latin-1", "replace"),
        "query_string": handshake.query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in handshake.headers
        ],
        "client": (handshake.remote_addr, handshake.remote_port),
        "server": None,
    }
