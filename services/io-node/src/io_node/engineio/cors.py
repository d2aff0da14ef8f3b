"""Which web pages may connect (the CORS protocol of the Fetch standard). Pure."""

import re
from collections.abc import Mapping

from sio_cluster.node.settings.config import Config

Headers = list[tuple[bytes, bytes]]

_MAX_AGE_S = b"600"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}")


class OriginPolicy:
    """What CORS_ALLOWED_ORIGINS and CORS_CREDENTIALS allow.

    A request without an Origin header comes from no web page, and is allowed. If every origin is allowed, the answer
    names none, so that browsers send no cookies: they would be those of a visitor of any page in the world.

    By default a page may connect to the host that it came from. Behind a proxy that host is in X-Forwarded-Host, and
    the scheme in X-Forwarded-Proto. These two are believed from anybody, not only from TRUSTED_PROXIES. This check
    protects visitors of web pages, and no page can add these headers to a request for another origin: a WebSocket
    takes no headers, and before any other request that has them the browser asks by a preflight, which does not have
    them and is refused. A program that is no browser can send them, but it could as well leave Origin out.
    """

    __slots__ = ("_allowed", "_any", "_credentials")

    def __init__(self, config: Config) -> None:
        origins = config.cors_allowed_origins
        self._any = origins is not None and "*" in origins
        self._allowed = None if origins is None else frozenset(origins)
        self._credentials = config.cors_credentials

    def allows(self, headers: Mapping[str, str], scheme: str) -> bool:
        """`headers` are by lower-case name. `scheme` is the connection's own: http, https, ws or wss."""
        origin = headers.get("origin")
        if origin is None or self._any:
            return True
        if self._allowed is not None:
            return origin.lower() in self._allowed
        scheme = _first(headers.get("x-forwarded-proto")) or scheme
        scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
        host = _first(headers.get("x-forwarded-host")) or headers.get("host", "")
        return origin.lower() == f"{scheme}://{host}".lower()

    def headers(self, headers: Mapping[str, str]) -> Headers:
        """The CORS headers of the response to a request that is allowed."""
        origin = headers.get("origin")
        if origin is None or self._allowed is None:
            return []
        if self._any:
            return [(b"access-control-allow-origin", b"*")]
        answer = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        if self._credentials:
            answer.append((b"access-control-allow-credentials", b"true"))
        return answer

    def preflight(self, headers: Mapping[str, str]) -> Headers:
        """The CORS headers of the response to an OPTIONS request that is allowed."""
        asked = headers.get("access-control-request-headers", "")
        allowed = asked if _HEADER_NAMES.fullmatch(asked) else "content-type"
        return [
            *self.headers(headers),
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-allow-headers", allowed.encode("latin-1")),
            (b"access-control-max-age", _MAX_AGE_S),
        ]


def _first(value: str | None) -> str:
    return value.split(",")[0].strip() if value else ""
