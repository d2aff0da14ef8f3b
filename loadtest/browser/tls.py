"""TLS on bytes, without a socket: so a connection is one non-blocking socket, encrypted or not."""

import ssl


class TlsError(Exception):
    """The handshake failed, or the peer broke the protocol."""


class TlsCodec:
    """The client side of a TLS connection. Give `unseal` what arrives; send `outgoing`. Raises TlsError."""

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
        """Encrypts data. To be called once `ready`."""
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise TlsError(str(error)) from error
        return self._out.read()

    def unseal(self, data: bytes) -> bytes:
        """Decrypts received bytes, or goes on with the handshake. The result may be empty."""
        self._in.write(data)
        if not self.ready:
            self._shake()
        parts = []
        while self.ready:
            try:
                part = self._object.read(65536)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                break  # SSLZeroReturnError: the end of the connection follows
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
