"""HTTP/1.1 as a polling transport needs it: one request at a time on a connection that is kept (RFC 9112)."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from loadtest.browser.link import Link, Traffic
from loadtest.browser.site import Site

MAX_HEAD_BYTES = 65536
MAX_BODY_BYTES = 16_000_000


class HttpError(Exception):
    """The server's answer is not HTTP/1.1 that is understood here, or too large."""


@dataclass(slots=True)
class Response:
    """An answer. Header names are in lower case; `cookies` are the Set-Cookie values."""

    status: int
    headers: dict[str, str]
    cookies: list[str] = field(default_factory=list)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer: the connection failed or ended."""

    why: str


class ResponseReader:
    """Takes bytes until one response is whole. `rest` is what came after it."""

    __slots__ = ("_chunks", "_head", "_left", "_upgrades", "rest")

    def __init__(self, *, upgrades: bool = False) -> None:
        self.rest = b""
        self._upgrades = upgrades
        self._head: Response | None = None
        self._left = 0  # body bytes to come; -1: chunked; -2: until the connection ends
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> Response | None:
        """The response, once it is whole. Raises HttpError."""
        self.rest += data
        while self._head is None:
            end = self.rest.find(b"\r\n\r\n")
            if end < 0:
                if len(self.rest) > MAX_HEAD_BYTES:
                    raise HttpError("a head without end")
                return None
            head, self.rest = parse_head(self.rest[:end]), self.rest[end + 4 :]
            if head.status >= 200 or (head.status == 101 and self._upgrades):
                self._head, self._left = head, self._length(head)
        if len(self.rest) > MAX_BODY_BYTES:
            raise HttpError("a body too large")
        if self._left == -1:
            return self._unchunk()
        if self._left == -2 or len(self.rest) < self._left:
            return None
        body, self.rest = self.rest[: self._left], self.rest[self._left :]
        return self._whole(body)

    def end(self) -> Response | None:
        """The connection ended: the response, where that is how its body ends."""
        return self._whole(self.rest) if self._head is not None and self._left == -2 else None

    @property
    def is_untouched(self) -> bool:
        return self._head is None and not self.rest

    def _length(self, head: Response) -> int:
        if head.status in (101, 204, 304):
            return 0
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            return -1
        length = head.headers.get("content-length")
        if length is None:
            return -2
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            raise HttpError(f"a Content-Length of {length!r}")
        return int(length)

    def _unchunk(self) -> Response | None:
        while (line := self.rest.find(b"\r\n")) >= 0:
            try:
                size = int(self.rest[:line].partition(b";")[0], 16)
            except ValueError as error:
                raise HttpError("a chunk without a size") from error
            stop = line + 2 + size
            if not 0 <= size <= MAX_BODY_BYTES:
                raise HttpError("a chunk of impossible size")
            if len(self.rest) < stop + 2:
                return None
            self._chunks.append(self.rest[line + 2 : stop])
            self.rest = self.rest[stop + 2 :]  # trailers are not expected: after the last chunk comes an empty line
            if size == 0:
                return self._whole(b"".join(self._chunks))
        return None

    def _whole(self, body: bytes) -> Response:
        assert self._head is not None
        coding = self._head.headers.get("content-encoding", "identity").lower()
        if coding != "identity" and body:
            body = _decompressed(coding, body)
        self._head.body = body
        return self._head


class HttpConnection:
    """Requests to one site, one after another, over a connection that is opened when needed and kept between them.

    Where the server closed a kept connection just as a request went out, that request is sent once more on a new one,
    as browsers do.
    """

    __slots__ = ("_done", "_link", "_paused", "_reader", "_request", "_reused", "_site", "_traffic", "_up")

    def __init__(self, site: Site, traffic: Traffic) -> None:
        self._site = site
        self._traffic = traffic
        self._link: Link | None = None
        self._up = False
        self._reused = False
        self._paused = False
        self._request = b""
        self._reader = ResponseReader()
        self._done: Callable[[Response | Lost], None] | None = None

    def send(self, request: bytes, done: Callable[[Response | Lost], None]) -> None:
        """`done` is called once, from the hub; after `close` no more. Not before the last request is done."""
        assert self._done is None, "one request at a time"
        self._request, self._done = request, done
        self._reader = ResponseReader()
        self._reused = self._up
        if self._link is not None and self._up:
            self._link.write(request)
        else:
            self._connect()

    def pause(self) -> None:
        self._paused = True
        if self._link is not None:
            self._link.pause()

    def resume(self) -> None:
        self._paused = False
        if self._link is not None:
            self._link.resume()

    def close(self) -> None:
        self._done = None
        self._up = False
        if self._link is not None:
            self._link.close()
            self._link = None

    def abandon(self, keep_s: float) -> None:
        self._done = None
        if self._link is not None:
            self._link.abandon(keep_s)
            self._link = None

    def _connect(self) -> None:
        self._link = Link(self._traffic, self._opened, self._received, self._lost)
        if self._paused:
            self._link.pause()
        self._link.open(self._site.host, self._site.port, self._site.tls)

    def _opened(self) -> None:
        self._up = True
        if self._link is not None:
            self._link.write(self._request)

    def _received(self, data: bytes) -> None:
        if self._done is None:
            self.close()  # an answer to nothing, such as 408 on a kept connection
            return
        try:
            response = self._reader.feed(data)
        except HttpError as error:
            self._finish(Lost(str(error)))
            return
        if response is not None:
            self._finish(response)

    def _lost(self, why: str) -> None:
        self._link, self._up = None, False
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


def parse_head(data: bytes) -> Response:
    """Status line and headers. Raises HttpError."""
    first, *lines = data.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise HttpError(f"not an HTTP/1.1 answer: {first[:80]!r}")
    response = Response(int(rest[:3]), {})
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "set-cookie":
            response.cookies.append(value.strip())
        else:
            response.headers[name.lower()] = value.strip()
    return response


def _decompressed(coding: str, body: bytes) -> bytes:
    if coding not in ("gzip", "deflate"):
        raise HttpError(f"a Content-Encoding of {coding!r}")
    context = zlib.decompressobj(47)  # gzip or zlib, by its header
    try:
        plain = context.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise HttpError(f"a compressed body: {error}") from error
    if context.unconsumed_tail:
        raise HttpError("a compressed body too large")
    return plain
