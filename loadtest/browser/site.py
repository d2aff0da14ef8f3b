"""The server of a browser, as the browser sees it: address, request headers, cookies."""

import ssl
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from time import time
from urllib.parse import urlsplit

from gevent.ssl import create_default_context

BROWSER_HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36",
    "Accept": "*/*",
    "Accept-Language": "en-GB,en;q=0.9",
    "Accept-Encoding": "gzip, deflate",
}
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_MAX_COOKIES = 50


class Site:
    """One server as one browser sees it. Cookies live as long as the browser and go with every request.

    Raises ValueError unless `url` is an http, https, ws or wss address with a host.
    """

    __slots__ = ("_cookies", "_headers", "host", "origin", "path", "port", "tls")

    def __init__(self, url: str, path: str, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is not an http, https, ws or wss address")
        secure = parts.scheme in ("https", "wss")
        self.host = parts.hostname
        self.port = parts.port or _PORTS[parts.scheme]
        self.path = path.rstrip("/") + "/"
        self.tls = (tls or _shared_context()) if secure else None
        self.origin = f"{'https' if secure else 'http'}://{parts.netloc.rpartition('@')[2]}"
        own = {name.lower() for name in headers}
        given = {"Host": self.origin.partition("://")[2], **BROWSER_HEADERS, "Referer": self.origin + "/"}
        self._headers = {name: value for name, value in given.items() if name.lower() not in own} | dict(headers)
        if "origin" not in own:
            self._headers["Origin"] = self.origin
        self._cookies: dict[str, str] = {}

    def request(self, method: str, query: str, more: Iterable[tuple[str, str]] = ()) -> bytes:
        """The head of a request, with the browser's headers and cookies."""
        lines = [f"{method} {self.path}?{query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._headers.items()]
        lines += [f"{name}: {value}" for name, value in more]
        if self._cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self._cookies.items()))
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def keep_cookies(self, values: Iterable[str]) -> None:
        """Takes values of Set-Cookie. Domain and Path are ignored: a browser here knows one server and one path."""
        for value in values:
            pair, *attributes = (part.strip() for part in value.split(";"))
            name, _, content = pair.partition("=")
            if not name or _is_over(attributes):
                self._cookies.pop(name, None)
            elif len(self._cookies) < _MAX_COOKIES or name in self._cookies:
                self._cookies[name] = content


_context: ssl.SSLContext | None = None


def _shared_context() -> ssl.SSLContext:
    """One TLS context for all browsers of the process, because loading the certificate authorities takes time."""
    global _context
    if _context is None:
        _context = create_default_context()
    return _context


def _is_over(attributes: Iterable[str]) -> bool:
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        if name.lower() == "max-age":
            return value.lstrip("-").isdigit() and int(value) <= 0
        if name.lower() == "expires":
            try:
                return parsedate_to_datetime(value).timestamp() < time()
            except ValueError:
                return False  # a date that cannot be read does not end a cookie (RFC 6265 section 5.2.1)
    return False
