"""What `connect` handlers get as `environ`, built from the client's `Handshake`.

It has the keys and values that python-socketio gives behind an ASGI server (engineio/async_drivers/asgi.py): headers
and query are read as UTF-8, a header that is not UTF-8 is left out, and such a query reads as empty. Only the two
callables of an ASGI request, `asgi.receive` and `asgi.send`, are missing: the request is on the io-node.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import unquote

from sio_cluster.protocol.messages import Handshake

SCOPE = "asgi.scope"
"""The one value in an environ that can be changed itself."""


class Environ(dict[str, Any]):
    """An environ that knows when it must be kept.

    It has some 30 entries, and most applications look at it once. So a client does not keep it, and builds it again
    when it is asked for. What an application puts into it must not be lost: `keep(self)` is called, once, before it
    is changed for the first time, or gives away its ASGI scope, which could be changed.
    """

    __slots__ = ("__weakref__", "_keep")

    def __init__(self, content: dict[str, Any], keep: "Callable[[Environ], None]") -> None:
        super().__init__(content)
        self._keep: Callable[[Environ], None] | None = keep

    def hold(self) -> None:
        """From now on its client keeps it."""
        keep, self._keep = self._keep, None
        if keep is not None:
            keep(self)

    def __getitem__(self, key: str) -> Any:
        if key == SCOPE:
            self.hold()
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As that of a dict."""
        if key == SCOPE:
            self.hold()
        return super().get(key, default)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """A copy is a plain dict."""
        return dict, (dict(self),)


def _holding(name: str) -> Callable[..., Any]:
    """The method of a dict, for an environ that is kept from then on."""
    method: Callable[..., Any] = getattr(dict, name)

    @wraps(method)
    def holding(self: Environ, *args: Any, **keywords: Any) -> Any:
        self.hold()
        return method(self, *args, **keywords)

    return holding


for _name in (
    "__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update",
    "items", "values", "copy",
):  # fmt: skip
    setattr(Environ, _name, _holding(_name))


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
        SCOPE: _scope(handshake, path),
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
