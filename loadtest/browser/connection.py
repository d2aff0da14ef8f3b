"""One TCP or TLS connection on gevent's hub: watchers and callbacks, no greenlet, nothing that blocks."""

import errno
import os
import socket
import ssl
from _socket import socket as RawSocket  # the plain one: gevent's patched class would wait instead of answering EAGAIN
from collections.abc import Callable
from typing import Any

import gevent

from loadtest.browser.hub import Address, Alarm, resolve
from loadtest.browser.tls import TlsCodec, TlsError

READ_BYTES = 65536
MAX_UNSENT_BYTES = 16_000_000
"""Unsent bytes that a connection keeps. With more, it is lost: `send buffer full`."""

_READ, _WRITE = 1, 2  # libev's EV_READ and EV_WRITE


class Traffic:
    """Bytes of one browser over all its connections, counted at the socket (with TLS: encrypted bytes)."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0


class Connection:
    """A connection that is opened once.

    It calls `opened()` once it can be written to, `received(data)`, and `lost(why)` once if it ends without `close`.
    It calls from the hub, never from within `open` or `write`, and not at all after `close`. Writes never block: what
    the socket does not take is kept, up to MAX_UNSENT_BYTES.
    """

    __slots__ = (
        "_addresses",
        "_closed",
        "_host",
        "_lost",
        "_opened",
        "_paused",
        "_reader",
        "_received",
        "_socket",
        "_tls",
        "_tls_context",
        "_traffic",
        "_unsent",
        "_writer",
    )

    def __init__(
        self,
        traffic: Traffic,
        opened: Callable[[], None],
        received: Callable[[bytes], None],
        lost: Callable[[str], None],
    ) -> None:
        self._traffic = traffic
        self._opened = opened
        self._received = received
        self._lost = lost
        self._socket: Any = None
        self._reader: Any = None
        self._writer: Any = None
        self._tls: TlsCodec | None = None
        self._tls_context: ssl.SSLContext | None = None
        self._host = ""
        self._addresses: list[Address] = []
        self._unsent = bytearray()
        self._paused = False
        self._closed = False

    def open(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._tls_context = host, tls
        resolve(host, port, self._found)

    def write(self, data: bytes) -> None:
        """Sends data; to be called after `opened`. On a connection that just broke it does nothing."""
        if self._closed:
            return
        if self._tls is None:
            self._send(data)
            return
        try:
            self._send(self._tls.seal(data))
        except TlsError as error:
            self._lose_soon(str(error))

    def pause(self) -> None:
        """Reads no more, so that TCP slows the server down."""
        self._paused = True
        if self._reader is not None:
            self._reader.stop()

    def resume(self) -> None:
        self._paused = False
        if self._reader is not None:
            self._reader.start(self._readable)

    def close(self) -> None:
        """Closes the socket now and drops what is unsent."""
        self._closed = True
        self._stop_watching()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def abandon(self, keep_s: float) -> None:
        """Reads and writes no more, but keeps the socket open for `keep_s`, so that the peer gets no FIN."""
        self._closed = True
        self._stop_watching()
        if self._socket is not None:
            Alarm().set(keep_s, self._socket.close)
            self._socket = None

    def _found(self, answer: list[Address] | OSError) -> None:
        if self._closed:
            return
        if isinstance(answer, OSError):
            self._lose_soon(_reason(answer))
            return
        self._addresses = answer[:]
        self._try_next("no address")

    def _try_next(self, why: str) -> None:
        """Connects to the next address, if there is one left."""
        while self._addresses:
            family, address = self._addresses.pop(0)
            try:
                self._socket = RawSocket(family, socket.SOCK_STREAM)
            except OSError as error:
                why = _reason(error)
                continue
            self._socket.setblocking(False)
            code = self._socket.connect_ex(address)
            if code in (0, errno.EINPROGRESS):
                self._writer = gevent.get_hub().loop.io(self._socket.fileno(), _WRITE)
                self._writer.start(self._connected)
                return
            why = os.strerror(code)
            self._socket.close()
            self._socket = None
        self._lose_soon(why)

    def _connected(self) -> None:
        self._stop_watching()
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code:
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:  # macOS: the peer has reset the connection already
                code = error.errno or errno.ECONNRESET
        if code:
            self._socket.close()
            self._socket = None
            self._try_next(os.strerror(code))
            return
        self._reader = gevent.get_hub().loop.io(self._socket.fileno(), _READ)
        if not self._paused:
            self._reader.start(self._readable)
        if self._tls_context is None:
            self._opened()
            return
        try:
            self._tls = TlsCodec(self._tls_context, self._host)
            self._send(self._tls.outgoing())
        except TlsError as error:
            self._lose(str(error))

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(_reason(error))
            return
        if not data:
            self._lose("closed by the server")
            return
        self._traffic.received += len(data)
        try:
            if self._tls is None:
                self._received(data)
            else:
                self._unseal(self._tls, data)
        except BaseException:
            self._lose_soon("a callback failed")  # the hub prints the error and stops this watcher for good
            raise

    def _unseal(self, tls: TlsCodec, data: bytes) -> None:
        was_ready = tls.ready
        try:
            plain = tls.unseal(data)
        except TlsError as error:
            self._lose(str(error))
            return
        self._send(tls.outgoing())
        if tls.ready and not was_ready:
            self._opened()
        if plain and not self._closed:
            self._received(plain)

    def _send(self, data: bytes) -> None:
        if self._unsent:
            self._keep(data)
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose_soon(_reason(error))
            return
        self._traffic.sent += sent
        if sent < len(data):
            self._keep(data[sent:])
            self._writer = gevent.get_hub().loop.io(self._socket.fileno(), _WRITE)
            self._writer.start(self._writable)

    def _keep(self, data: bytes) -> None:
        if len(self._unsent) + len(data) > MAX_UNSENT_BYTES:
            self._lose_soon("send buffer full")
        else:
            self._unsent += data

    def _writable(self) -> None:
        try:
            with memoryview(self._unsent) as view:
                sent = self._socket.send(view[:READ_BYTES])
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(_reason(error))
            return
        self._traffic.sent += sent
        del self._unsent[:sent]
        if not self._unsent:
            self._writer.stop()
            self._writer.close()
            self._writer = None

    def _lose_soon(self, why: str) -> None:
        """Loses the connection from the hub, because the caller is in the middle of something."""
        gevent.get_hub().loop.run_callback(self._lose, why)

    def _lose(self, why: str) -> None:
        if not self._closed:
            self.close()
            self._lost(why)

    def _stop_watching(self) -> None:
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reader = self._writer = None


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
