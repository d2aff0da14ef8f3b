"""HTTP/1.1 as the polling transport needs it: one request at a time on a connection that is kept open (RFC 9112)."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from loadtest.browser.connection import Connection, Traffic
from loadtest.browser.site import Site

MAX_HEAD_BYTES = 65536
MAX_BODY_BYTES = 16_000_000


class HttpError(Exception):
    """The server's answer is not valid HTTP/1.1, has an unknown Content-Encoding, or is too large."""


@dataclass(slots=True)
class Response:
    """An answer. Header names are in lower case. `cookies` holds the values of Set-Cookie."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no answer: the connection failed or ended."""

    why: str


class ResponseReader:
    """Takes the bytes of one response; httptools parses them.

    Interim responses such as 100 are skipped. 101 ends the response and puts what follows into `rest`.
    """

    __slots__ = ("_body", "_head_bytes", "_parser", "_response", "_size", "_whole", "is_untouched", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self.is_untouched = True
        self._parser = HttpResponseParser(self)
        self._response = Response()
        self._head_bytes = 0  # bytes fed so far; bounded until the head is complete
        self._body: list[bytes] = []
        self._size = 0
        self._whole = False

    def feed(self, data: bytes) -> Response | None:
        """The response, once it is whole. Raises HttpError."""
        self.is_untouched = False
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
            return self._response
        except HttpParserError as error:
            if not self._whole:  # what follows a whole response is of no interest
                raise HttpError(f"not HTTP/1.1: {error.args[0]}") from error
        if self._response.status == 0 and self._head_bytes > MAX_HEAD_BYTES:
            raise HttpError("a head without end")
        if self._size > MAX_BODY_BYTES:
            raise HttpError("a body too large")
        return self._finished() if self._whole else None

    def end(self) -> Response | None:
        """The connection ended. This is the response if its body has no length and so ends with the connection."""
        headers = self._response.headers
        if self._response.status == 0 or "content-length" in headers or "transfer-encoding" in headers:
            return None
        return self._finished()

    def _finished(self) -> Response:
        response, body = self._response, b"".join(self._body)
        coding = response.headers.get("content-encoding", "identity").lower()
        response.body = _decompressed(coding, body) if coding != "identity" and body else body
        return response

    # what httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._whole:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        if key == "set-cookie":
            self._response.cookies.append(text)
        else:
            self._response.headers[key] = text

    def on_headers_complete(self) -> None:
        if not self._whole:
            self._response.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        if not self._whole:
            self._body.append(data)
            self._size += len(data)

    def on_message_complete(self) -> None:
        if self._whole:
            return
        if self._response.status < 200 and self._response.status != 101:
            self._response = Response()
        else:
            self._whole = True


class HttpConnection:
    """Requests to one site, one after another, over a connection that is opened when needed and then kept.

    A server may close a kept connection just as a request goes out. Then that request is sent once more on a new
    connection, as browsers do.
    """

    __slots__ = ("_connection", "_done", "_paused", "_reader", "_request", "_reused", "_site", "_traffic", "_up")

    def __init__(self, site: Site, traffic: Traffic) -> None:
        self._site = site
        self._traffic = traffic
        self._connection: Connection | None = None
        self._up = False
        self._reused = False
        self._paused = False
        self._request = b""
        self._reader = ResponseReader()
        self._done: Callable[[Response | Lost], None] | None = None

    def send(self, request: bytes, done: Callable[[Response | Lost], None]) -> None:
        """Sends a request. `done` is called once, from the hub, unless `close` is called first.

        The earlier request must be done.
        """
        assert self._done is None, "one request at a time"
        self._request, self._done = request, done
        self._reader = ResponseReader()
        self._reused = self._up
        if self._connection is not None and self._up:
            self._connection.write(request)
        else:
            self._connect()

    def pause(self) -> None:
        self._paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        self._paused = False
        if self._connection is not None:
            self._connection.resume()

    def close(self) -> None:
        self._done = None
        self._up = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abandon(self, keep_s: float) -> None:
        """Says and hears nothing more, but keeps the socket open for so long."""
        self._done = None
        if self._connection is not None:
            self._connection.abandon(keep_s)
            self._connection = None

    def _connect(self) -> None:
        self._connection = Connection(self._traffic, self._opened, self._received, self._lost)
        if self._paused:
            self._connection.pause()
        self._connection.open(self._site.host, self._site.port, self._site.tls)

    def _opened(self) -> None:
        self._up = True
        if self._connection is not None:
            self._connection.write(self._request)

    def _received(self, data: bytes) -> None:
        if self._done is None:
            self.close()  # nobody asked: for example a 408 on an idle connection
            return
        try:
            response = self._reader.feed(data)
        except HttpError as error:
            self._finish(Lost(str(error)))
            return
        if response is not None:
            self._finish(response)

    def _lost(self, why: str) -> None:
        self._connection, self._up = None, False
        if self._done is None:
            return
        if self._reused and self._reader.is_untouched:
            self._reused = False
            self._connect()
            return
        try:
            self._finish(self._reader.end() or Lost(why))
        except HttpError as error:
            self._finish(Lost(str(error)))

    def _finish(self, outcome: Response | Lost) -> None:
        done, self._done = self._done, None
        ends = isinstance(outcome, Lost) or "close" in outcome.headers.get("connection", "").lower()
        if ends:
            self.close()
        if isinstance(outcome, Response):
            self._site.keep_cookies(outcome.cookies)
        if done is not None:
            done(outcome)


def _decompressed(coding: str, body: bytes) -> bytes:
    if coding not in ("gzip", "deflate"):
        raise HttpError(f"a Content-Encoding of {coding!r}")
    context = zlib.decompressobj(47)  # gzip or zlib, whichever its header says
    try:
        plain = context.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise HttpError(f"a compressed body: {error}") from error
    if context.unconsumed_tail:
        raise HttpError("a compressed body too large")
    return plain
