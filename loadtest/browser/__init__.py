"""A simulated browser: what the official Socket.IO client 4.8 does on the wire, light enough for thousands a process.

It lives in gevent's hub, without a greenlet per client. Each layer knows the one below it:

    browser     what a scenario calls: connect, emit, call, close
    presence    Socket.IO v5: the namespace, acks, reconnection
    engine      Engine.IO v4: handshake, upgrade, heartbeats, the write buffer
    polling, websocket   the two transports
    http, frames         HTTP/1.1 responses and WebSocket frames, out of bytes
    link        one TCP or TLS connection that never blocks the hub

Specs: Engine.IO protocol v4, Socket.IO protocol v5, RFC 9112 (HTTP/1.1), RFC 6455 (WebSocket), RFC 7692 (its deflate).
"""

from loadtest.browser.browser import Browser
from loadtest.browser.options import AckTimeout, BrowserError, BrowserOptions, ConnectFailed, ConnectTimes, NotConnected

__all__ = [
    "AckTimeout",
    "Browser",
    "BrowserError",
    "BrowserOptions",
    "ConnectFailed",
    "ConnectTimes",
    "NotConnected",
]
