"""Every setting of both kinds of node, from keyword arguments or the environment.

    Config()                          all from the environment, else the defaults below
    Config(HTTP_PORT=8081)            a keyword wins over the environment; any case will do

The first five keys are those of the 2011 original. Time limits are whole milliseconds, sizes are bytes.
"""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sio_cluster.protocol.errors import ConfigError

Transport = Literal["polling", "websocket"]
Millis = Annotated[int, Field(gt=0, le=86_400_000)]
Bytes = Annotated[int, Field(gt=0, le=1 << 40)]

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


def _as_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    return networks if networks == ("*",) else tuple(str(ip_network(network)) for network in networks)


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True)

    # where
    http_host: str = Field("127.0.0.1", description="Address that a node's HTTP server listens on")
    http_port: int = Field(8080, ge=0, le=65535, description="Its port; 0 takes a free one")
    redis_host: str = Field("localhost", description="Redis or Valkey server")
    redis_port: int = Field(6379, ge=1, le=65535, description="Its port")
    redis_password: str | None = Field(None, repr=False, description="Its password")
    redis_url: Annotated[str, AfterValidator(_as_redis_url)] | None = Field(
        None,
        repr=False,
        description="`redis://user:password@host:port/db`, `rediss://` for TLS; wins over the three above",
    )
    redis_prefix: str = Field(
        "sio", pattern=r"^[A-Za-z0-9_.:-]{1,64}$", description="Begins each key: several clusters can share a Redis"
    )
    node_name: str | None = Field(
        None,
        pattern=r"^[a-z0-9]{1,32}$",
        description="Name of this node, by which nginx routes; default: the host's name",
    )

    # what clients see; the defaults are those of Socket.IO's own server
    socketio_path: Annotated[str, AfterValidator(_as_path)] = Field("/socket.io", description="Path that clients use")
    transports: Annotated[tuple[Transport, ...], NoDecode] = Field(
        ("polling", "websocket"), min_length=1, description="Transports that are allowed"
    )
    allow_upgrades: bool = Field(True, description="Whether a polling client may upgrade to WebSocket")
    ping_interval_ms: Millis = Field(25_000, description="Time between a PONG and the next PING")
    ping_timeout_ms: Millis = Field(20_000, description="Time that a client has to answer a PING")
    upgrade_timeout_ms: Millis = Field(10_000, description="Time that a transport upgrade may take")
    connect_timeout_ms: Millis = Field(45_000, description="Time that a connection may stay in no namespace")
    max_payload_bytes: Bytes = Field(1_000_000, description="Largest message, frame or polling request of a client")
    max_attachments: int = Field(10, ge=0, le=10_000, description="Most binary attachments of one packet")
    max_namespaces: int = Field(100, ge=1, description="Most namespaces that one connection may join")
    cors_allowed_origins: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None, description="Origins that may connect, comma-separated, `*` for all; default: the same origin only"
    )
    cors_credentials: bool = Field(True, description="Whether cross-origin requests may carry cookies")

    trusted_proxies: Annotated[tuple[str, ...], NoDecode, AfterValidator(_as_networks)] = Field(
        ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
        description="Networks whose X-Forwarded-For and X-Forwarded-Proto are believed, `*` for all",
    )

    # bounds and limits of an io-node
    request_timeout_ms: Millis = Field(10_000, description="Time that a client has to send a whole HTTP request")
    send_buffer_bytes: Bytes = Field(
        4_000_000, description="What may wait for one client; beyond it is a slow consumer"
    )
    uplink_buffer_bytes: Bytes = Field(
        16_000_000, description="What may wait for Redis; beyond it sockets are not read"
    )
    connect_rate: int = Field(
        1_000, ge=0, le=1_000_000, description="CONNECTs a second that an io-node passes on; others wait; 0: no limit"
    )
    drain_ms: Millis = Field(10_000, description="Time over which a stopping io-node moves its clients")

    client_dist_dir: Path | None = Field(
        None, description="Folder of `socket.io.js`; default: the nearest `node_modules/socket.io-client/dist`"
    )

    # the bus
    lanes: int = Field(16, ge=1, le=4096, description="Partitions of the uplink, the same on every node of a cluster")
    lane_max_bytes: Bytes = Field(64_000_000, description="What one lane may hold in Redis")
    lane_fair_bytes: Bytes = Field(
        64_000, description="What a lane may hold before those who send most of it are read no further"
    )
    inbox_max_bytes: Bytes = Field(64_000_000, description="What one inbox may hold in Redis")
    lease_ms: Millis = Field(5_000, ge=300, description="How long an app-node holds a lane without renewing")
    heartbeat_ms: Millis = Field(1_000, description="How often a node says that it lives")
    node_timeout_ms: Millis = Field(
        10_000, description="Silence after which a node counts as dead; at least ten times HEARTBEAT_MS"
    )

    # an app-node
    max_inflight_bytes: Bytes = Field(32_000_000, description="Uplink that an app-node works on at a time")
    shutdown_ms: Millis = Field(10_000, description="Time that handlers have to finish when an app-node stops")
    health_port: int | None = Field(
        None, ge=0, le=65535, description="Port of an app-node's /healthz, /readyz and /metrics"
    )

    # logs
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is written")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto`: console on a terminal, else JSON"
    )

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
        """How long one heartbeat of an io-node counts. Who buries the dead looks once a heartbeat, and sees a
        node missing four times: who fell silent is buried within the time-out, and none that is a few beats late."""
        return self.node_timeout_ms - 5 * self.heartbeat_ms

    @property
    def redis_address(self) -> str:
        """The URL of Redis, with its password: not for logs."""
        if self.redis_url:
            return self.redis_url
        password = f":{quote(self.redis_password, safe='')}@" if self.redis_password else ""
        return f"redis://{password}{self.redis_host}:{self.redis_port}/0"


def _explain(error: ValidationError) -> str:
    """One line a wrong setting, by the name that its user knows."""
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
