"""The options of a browser, the times that it reports, and its errors.

BrowserError
├── ConnectFailed   an attempt to reach the namespace failed: in which phase, and why
├── NotConnected    something was to be sent while the browser is not in its namespace
└── AckTimeout      the server did not ack in time
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Transport = Literal["upgrade", "websocket", "polling"]
Phase = Literal["handshake", "connect"]


@dataclass(frozen=True, slots=True)
class BrowserOptions:
    """How a browser connects. The defaults are the official client's. `upgrade` means polling first, then WebSocket.

    `headers` replace the browser's headers of the same name, or are added. `timeout_s` bounds one attempt until the
    Engine.IO handshake, and then how long a connect waits for an upgrade. `tls` replaces the default context of https,
    which checks certificates.
    """

    transport: Transport = "upgrade"
    namespace: str = "/loadtest"
    auth: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = "/socket.io/"
    reconnection: bool = True
    reconnection_delay_s: float = 1.0
    reconnection_delay_max_s: float = 5.0
    randomization_factor: float = 0.5
    timeout_s: float = 20.0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if self.transport not in ("upgrade", "websocket", "polling"):
            raise ValueError(f"transport {self.transport!r} is not upgrade, websocket or polling")
        if not self.namespace.startswith("/") or "," in self.namespace:
            raise ValueError(f"namespace {self.namespace!r} does not start with / or has a comma")


@dataclass(frozen=True, slots=True)
class ConnectTimes:
    """How long one connect took, by phase, in seconds. The upgrade and the CONNECT go on at the same time.

    handshake_s   TCP, TLS and the Engine.IO handshake, until its open packet
    upgrade_s     from there until the upgrade packet is sent; None where there was no upgrade, or it failed
    connect_s     from the CONNECT packet until its answer
    total_s       from the start of this attempt until both are done; the pause before a reconnection is not included
    """

    handshake_s: float
    upgrade_s: float | None
    connect_s: float
    total_s: float
    reconnect: bool


class BrowserError(Exception):
    """The family of all errors here."""


class ConnectFailed(BrowserError):
    """An attempt to reach the namespace failed. `refused`: the application said no, so there is no further attempt."""

    def __init__(self, phase: Phase, why: str, *, refused: bool = False) -> None:
        super().__init__(f"{phase}: {why}")
        self.phase = phase
        self.why = why
        self.refused = refused


class NotConnected(BrowserError):
    """The browser is not in its namespace, or left it while it waited for an ack."""


class AckTimeout(BrowserError):
    """No ack came in time. An ack that comes later is dropped."""
