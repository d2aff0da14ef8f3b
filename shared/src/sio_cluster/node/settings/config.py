"""Every setting of both kinds of node, from keyword arguments or the environment.

    Config()                          all from the environment, else the defaults below
    Config(HTTP_PORT=8081)            a keyword wins over the environment; any case will do

The first five keys are those of the 2011 original. Time limits are whole milliseconds, sizes are bytes.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sio_cluster.node.settings.forms import as_host, as_lower, as_port, without_line_end
from sio_cluster.protocol.errors import ConfigError

Transport = Literal["polling", "websocket"]
Millis = Annotated[int, Field(gt=0, le=86_400_000)]
Bytes = Annotated[int, Field(gt=0, le=1 << 40)]

_OWN_PORTS = {"http": ":80", "https": ":443"}
_SECRET = ("REDIS_PASSWORD", "REDIS_URL")


def _as_path(path: str) -> str:
    trimmed = "/" + path.strip("/")
    if trimmed == "/":
        raise ValueError("must name a path below the root, such as /socket.io")
    return trimmed


def _as_redis_url(url: str) -> str:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return url


def _as_origins(origins: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if origins is None else tuple(_as_origin(origin) for origin in origins)


def _as_origin(text: str) -> str:
    """As browsers write it: in lower case, without a slash at the end and without the scheme's own port."""
    origin = text.lower()
    if origin in ("*", "null"):
        return origin
    scheme, separator, host = origin.partition("://")
    host = host.rstrip("/").removesuffix(_OWN_PORTS.get(scheme, "/"))
    if not separator or re.search(r"[/?#@*\s]", host):
        raise ValueError(f"{text} is no origin; it must be like https://example.org, or *")
    return f"{scheme}://{host}"


def _as_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    return networks if networks == ("*",) else tuple(str(ip_network(network)) for network in networks)


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True)

    # where
    http_host: str = Field(
        "127.0.0.1",
        description="Address on which a node's HTTP server listens. `0.0.0.0` opens it to other machines, `::` to "
        "those with IPv6 too.",
    )
    http_port: int = Field(
        8080, ge=0, le=65535, description="Port on which an io-node listens for its clients. 0 takes any free port."
    )
    redis_host: Annotated[str, AfterValidator(as_host)] = Field(
        "localhost", description="Host name or address of the Redis or Valkey server."
    )
    redis_port: Annotated[int, BeforeValidator(as_port)] = Field(
        6379,
        ge=1,
        le=65535,
        description="Port of the Redis server. `tcp://10.0.0.1:6379`, as Kubernetes sets it for a service called "
        "`redis`, counts as 6379.",
    )
    redis_password: str | None = Field(
        None, repr=False, description="Password of the Redis server. By default a node logs in without one."
    )
    redis_url: Annotated[str, AfterValidator(_as_redis_url)] | None = Field(
        None,
        repr=False,
        description="Whole address of Redis, such as `redis://user:password@host:6379/0`. It begins with `rediss://` "
        "for TLS, with `unix://` for a local socket. If it is set, the three settings above have no effect.",
    )
    redis_prefix: str = Field(
        "sio",
        pattern=r"^[A-Za-z0-9_.:-]{1,64}$",
        description="First part of every key in Redis. Clusters with different prefixes can share one Redis.",
    )
    node_name: str | None = Field(
        None,
        pattern=r"^[a-z0-9]{1,32}$",
        description="Name of this node: 1 to 32 lower-case letters and digits. nginx finds an io-node by its name: if "
        "two share one, polling requests reach the wrong one. By default it is the host's name without all other "
        "characters: `web-01` becomes `web01`.",
    )

    # what clients see; the defaults are those of Socket.IO's own server
    socketio_path: Annotated[str, AfterValidator(_as_path)] = Field(
        "/socket.io", description="Path of the URL at which clients find Socket.IO."
    )
    transports: Annotated[tuple[Transport, ...], NoDecode] = Field(
        ("polling", "websocket"),
        min_length=1,
        description="Transports that clients may use, separated by commas. A request for another gets HTTP 400.",
    )
    allow_upgrades: bool = Field(
        True, description="Whether a connection that began with polling may move to WebSocket (an upgrade)."
    )
    ping_interval_ms: Millis = Field(
        25_000, description="Milliseconds from a connection's PONG to the next PING that it gets."
    )
    ping_timeout_ms: Millis = Field(
        20_000,
        description="Milliseconds in which a connection must answer a PING. If it does not, it is closed with the "
        "reason `ping timeout`.",
    )
    upgrade_timeout_ms: Millis = Field(
        10_000,
        description="Milliseconds in which an upgrade must be complete. If not, the connection stays on polling.",
    )
    connect_timeout_ms: Millis = Field(
        45_000,
        description="Milliseconds in which a connection that is in no namespace must send a CONNECT. If it does not, "
        "it is closed. Once it has sent one, it may wait for the application, and for CONNECT_RATE, as long as it "
        "takes.",
    )
    max_payload_bytes: Bytes = Field(
        1_000_000,
        description="Most bytes in one packet of a client, its attachments included, and in one polling request. "
        "A larger packet closes the connection; a larger request gets HTTP 413.",
    )
    max_attachments: int = Field(
        10,
        ge=0,
        le=10_000,
        description="Most binary attachments in one packet of a client. A packet with more closes the connection. On "
        "an app-node, a number above 10 says that your clients take more than the 10 of the official JavaScript "
        "client. An emit with more than they take raises ValueError.",
    )
    max_namespaces: int = Field(
        100,
        ge=1,
        description="Most namespaces that one connection may be in. A CONNECT to one more is refused, and the "
        "connection stays open.",
    )
    cors_allowed_origins: Annotated[tuple[str, ...] | None, NoDecode, AfterValidator(_as_origins)] = Field(
        None,
        description="Origins of web pages that may connect, separated by commas, such as `https://example.org`. `*` "
        "allows all; their polling requests then carry no cookies. Pages from elsewhere get HTTP 403. By default only "
        "pages of the same origin may connect; if you set it, list that origin too.",
    )
    cors_credentials: bool = Field(
        True,
        description="Whether pages of the other origins that CORS_ALLOWED_ORIGINS lists may send cookies. It has no "
        "effect with `*`.",
    )

    trusted_proxies: Annotated[tuple[str, ...], NoDecode, AfterValidator(_as_networks)] = Field(
        ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
        description="Networks of your proxies, separated by commas. A client's address and scheme are taken from "
        "`X-Forwarded-For` and `X-Forwarded-Proto` if a proxy in one of them sends the request. `*` trusts everybody.",
    )

    # bounds and limits of an io-node
    request_timeout_ms: Millis = Field(
        10_000,
        description="Milliseconds in which a client must send the head of a request, and the body of a polling "
        "request. One that is slower gets HTTP 408.",
    )
    uplink_buffer_bytes: Bytes = Field(
        16_000_000,
        description="Most bytes from clients that may wait in an io-node for Redis. While more waits, the io-node "
        "stops reading from each connection that sends anything more. It reads all of them again when no more than "
        "half of this limit waits.",
    )
    downlink_buffer_bytes: Bytes = Field(
        256_000_000,
        description="Most bytes that may wait in an io-node for all its clients together. A message that waits for "
        "many clients counts once. When more waits, the clients for which most waits are closed with the reason "
        "`slow consumer`, until a tenth of the limit is free. Whatever the limit, a client for which something waits, "
        "and which takes nothing of it for PING_TIMEOUT_MS, is closed in the same way.",
    )
    connect_rate: int = Field(
        1_000,
        ge=0,
        le=1_000_000,
        description="CONNECTs that an io-node passes on to the application in one second. Further ones wait in the "
        "order in which they came. 0 means no limit.",
    )
    drain_ms: Millis = Field(
        10_000,
        description="Milliseconds in which a stopping io-node closes its connections, a few at a time, so that its "
        "clients reconnect to other io-nodes. What is still open after that is cut off.",
    )

    client_dist_dir: Path | None = Field(
        None,
        description="Folder of `socket.io.js`, the JavaScript client that io-nodes serve. By default it is "
        "`node_modules/socket.io-client/dist` in the working directory, or in the nearest folder above that has it.",
    )

    # the bus
    lanes: int = Field(
        16,
        ge=1,
        le=4096,
        description="Number of lanes, the streams in Redis that carry events to the app-nodes. It must be the same on "
        "all nodes of a cluster: a node with another number refuses to start.",
    )
    lane_max_bytes: Bytes = Field(
        64_000_000,
        description="Most bytes that one lane may hold in Redis. While a lane is full, its events wait in the "
        "io-nodes, which then stop reading from the connections that send to it.",
    )
    lane_fair_bytes: Bytes = Field(
        64_000,
        description="Bytes that may wait in one lane before io-nodes stop reading from the connections that send most "
        "of them. docs/operations.md explains it.",
    )
    inbox_max_bytes: Bytes = Field(
        64_000_000,
        description="Most bytes that the inbox of one node may hold in Redis. While an io-node's inbox is full, "
        "messages to its clients wait in the app-nodes, and those to other io-nodes go on. When MAX_INFLIGHT_BYTES "
        "wait in an app-node, each `emit` there waits, whatever io-node it is for.",
    )
    lease_ms: Millis = Field(
        5_000,
        ge=300,
        description="Milliseconds for which an app-node holds a lane without renewing its lease. If the app-node is "
        "killed, clients of the lane wait about that long for the next one.",
    )
    heartbeat_ms: Millis = Field(1_000, description="Milliseconds from one heartbeat of a node to the next.")
    node_timeout_ms: Millis = Field(
        10_000,
        description="Milliseconds without a heartbeat after which an app-node declares an io-node dead; it may do so "
        "up to two heartbeats earlier. If no app-node lives, the next one does it. The application then gets a "
        "`disconnect` with the reason `node lost` for each of its clients. At least ten times HEARTBEAT_MS.",
    )

    # an app-node
    max_inflight_bytes: Bytes = Field(
        32_000_000,
        description="Most bytes of events that an app-node works on at a time. At this limit it reads no more until "
        "handlers end. Its messages that wait for Redis have a limit of their own of the same size: at that, `emit` "
        "waits.",
    )
    shutdown_ms: Millis = Field(
        10_000,
        description="Milliseconds that running handlers get to finish when an app-node stops, or when a lane moves to "
        "another app-node, as when one is added. If a handler takes longer, the next app-node handles its event again, "
        "and all other events of the same lane entry: those that an io-node wrote into the lane at the same time.",
    )
    handler_block_ms: int = Field(
        1_000,
        ge=0,
        le=86_400_000,
        description="Milliseconds after which a handler that blocks the event loop of its app-node is logged, with its "
        "stack. If it blocks for LEASE_MS, the app-node's process ends, to be started anew. 0 switches both off, for "
        "instance while you debug.",
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which an app-node serves /healthz, /readyz and /metrics. By default it serves none.",
    )

    # logs
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(as_lower)] = Field(
        "info", description="Least severe level that is logged: `debug`, `info`, `warning` or `error`."
    )
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(as_lower)] = Field(
        "auto",
        description="`json` or `console`, one line for each event. `auto` is `console` on a terminal, else `json`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _trim(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: without_line_end(value) for name, value in values.items()}

    @field_validator("transports", "cors_allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.heartbeat_ms * 10 > self.node_timeout_ms:  # see heartbeat_ttl_ms
            raise ValueError("NODE_TIMEOUT_MS must be at least ten times HEARTBEAT_MS")
        return self


class Config(_Settings):
    """The settings of one node.

    Raises ConfigError, naming the setting, where one is unknown, malformed or impossible.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        given = {name.lower(): value for name, value in {**(settings or {}), **keywords}.items()}
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise ConfigError(_explain(error)) from None

    @property
    def heartbeat_ttl_ms(self) -> int:
        """How long one heartbeat of an io-node counts.

        The holder of lane 0 looks for silent io-nodes once a heartbeat, and buries one that was missing four times. So
        a node that falls silent is buried within NODE_TIMEOUT_MS, and one that is a few heartbeats late is not.
        """
        return self.node_timeout_ms - 5 * self.heartbeat_ms

    @property
    def redis_address(self) -> str:
        """The URL of Redis, with its password: not for logs."""
        if self.redis_url:
            return self.redis_url
        password = f":{quote(self.redis_password, safe='')}@" if self.redis_password else ""
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"redis://{password}{host}:{self.redis_port}/0"


def _explain(error: ValidationError) -> str:
    """What is wrong with each setting, under the name that its user knows."""
    lines = []
    for problem in error.errors():
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {name}")
        else:
            reason = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "string_pattern_mismatch":
                reason = f"must be of the form {problem['ctx']['pattern'].strip('^$')}"
            got = "" if name in _SECRET else f" (got {problem['input']!r})"
            lines.append(f"{name}: {reason}{got}" if name else reason)
    return "; ".join(lines)
