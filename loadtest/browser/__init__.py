"""A simulated browser: does on the wire what the official Socket.IO client 4.8 does, thousands of times in a process.

It runs on gevent's hub, without a greenlet for each client. Imports nothing else of loadtest. Each layer uses only
the layers below it:

    browser     what a scenario calls: connect, emit, call, close
    presence    Socket.IO v5: the namespace, acks, reconnection
    engine      Engine.IO v4: handshake, upgrade, heartbeats, the write buffer
    polling, websocket   the two transports
    http, frames         HTTP/1.1 responses and WebSocket frames, parsed from bytes
    connection  one TCP or TLS connection that never blocks the hub
    hub         timers and host names on gevent's hub

Specifications: Engine.IO protocol v4, Socket.IO protocol v5, RFC 9112 (HTTP/1.1), RFC 6455 (WebSocket), RFC 7692
(compressed WebSocket messages).
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
