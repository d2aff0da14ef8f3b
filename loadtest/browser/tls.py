"""TLS over bytes: no socket in it, so a link stays one non-blocking socket whether it is encrypted or not."""

import ssl


class TlsError(Exception):
    """The handshake failed, or the peer broke the protocol."""


class TlsCodec:
    """Client side of one TLS connection. Feed it what arrives, send what `outgoing` gives. Raises TlsError."""

    __slots__ = ("_in", "_object", "_out", "ready")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=host)
        self.ready = False
        self._shake()

    def outgoing(self) -> bytes:
        return self._out.read()

    def seal(self, data: bytes) -> bytes:
        """Encrypts; only when `ready`."""
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise TlsError(str(error)) from error
        return self._out.read()

    def unseal(self, data: bytes) -> bytes:
        """What these bytes decrypt to, which may be nothing. Also carries the handshake on."""
        self._in.write(data)
        if not self.ready:
            self._shake()
        parts = []
        while self.ready:
            try:
                part = self._object.read(65536)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                break  # in the second case the end of the connection follows
            except ssl.SSLError as error:
                raise TlsError(str(error)) from error
            if not part:
                break
            parts.append(part)
        return b"".join(parts)

    def _shake(self) -> None:
        try:
            self._object.do_handshake()
            self.ready = True
        except ssl.SSLWantReadError:
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise TlsError(str(error)) from error
