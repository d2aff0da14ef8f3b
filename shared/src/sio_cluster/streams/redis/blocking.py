"""One connection to Redis on which the calling thread waits."""

import socket
import ssl
import time
from typing import Any

import hiredis

from sio_cluster.protocol.errors import AccessRefused, BusUnavailable
from sio_cluster.streams.redis.address import is_tls, parse, place_of, tls_context
from sio_cluster.streams.redis.connection import RedisCommand, log_in, pack, raise_first_error
from sio_cluster.streams.redis.replies import error_of
from sio_cluster.streams.redis.wire import Reply

_READ_BYTES = 65536
_INCOMPLETE = object()


class BlockingConnection:
    """Opened by its first use, and again by the next one after it was lost. Each use has a time limit as a whole.

    It reads the address as `Connection` does, so it takes the same user, password, database, socket and certificates.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        """No IO here. Raises ConfigError where the address is malformed."""
        self._options = parse(address)
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None

    def run(self, commands: list[RedisCommand]) -> list[Reply]:
        """The answers. The commands must bear to be repeated: a connection that Redis has closed meanwhile is only
        noticed now. Raises BusUnavailable, AccessRefused, or the first error among the answers."""
        deadline = time.monotonic() + self._timeout_s
        had_connection = self._socket is not None
        try:
            replies = self._try(commands, deadline)
        except OSError as error:  # TimeoutError is one of them
            self.close()
            if not had_connection or isinstance(error, TimeoutError):
                raise self._unavailable(error) from error
            try:
                replies = self._try(commands, deadline)
            except OSError as again:
                self.close()
                raise self._unavailable(again) from again
        raise_first_error(replies)
        return replies

    def close(self) -> None:
        """Idempotent. The next use opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _try(self, commands: list[RedisCommand], deadline: float) -> list[Reply]:
        if self._socket is None:
            self._socket = _dial(self._options, deadline)
            first = log_in(self._options)
            if first:
                try:
                    raise_first_error(_ask(self._socket, first, deadline))
                except BaseException:
                    self.close()
                    raise
        return _ask(self._socket, commands, deadline)

    def _unavailable(self, error: OSError) -> BusUnavailable:
        return BusUnavailable(f"Redis at {place_of(self._options)}: {str(error) or 'no answer in time'}")


def _ask(connection: socket.socket, commands: list[RedisCommand], deadline: float) -> list[Reply]:
    """Raises OSError. Errors of Redis stand among the answers."""
    connection.settimeout(_left_s(deadline))
    connection.sendall(pack(commands))
    reader = hiredis.Reader(replyError=error_of, notEnoughData=_INCOMPLETE)
    replies: list[Reply] = []
    while len(replies) < len(commands):
        reply = reader.gets()
        if reply is not _INCOMPLETE:
            replies.append(reply)
            continue
        connection.settimeout(_left_s(deadline))
        data = connection.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("Redis has closed the connection")
        reader.feed(data)
    return replies


def _dial(options: dict[str, Any], deadline: float) -> socket.socket:
    """Raises OSError, and AccessRefused."""
    if "path" in options:
        dialled = socket.socket(socket.AF_UNIX)
        try:
            dialled.settimeout(_left_s(deadline))
            dialled.connect(options["path"])
        except BaseException:
            dialled.close()
            raise
        return dialled
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    dialled = socket.create_connection((host, port), timeout=_left_s(deadline))
    if not is_tls(options):
        return dialled
    try:
        return tls_context(options).wrap_socket(dialled, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        dialled.close()
        raise AccessRefused(f"Redis at {place_of(options)} has no certificate to trust: {error}") from error
    except BaseException:
        dialled.close()
        raise


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
