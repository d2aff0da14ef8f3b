"""Every setting of both kinds of node, each declared once: its name, type, default, limits, meaning, and who reads it.

`node.settings.config.Config` reads them from keyword arguments and the environment. The first five keys are those of
the 2011 original. Time limits are whole milliseconds, sizes are bytes.
"""

import enum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode

from sio_cluster.node.settings.forms import (
    as_host,
    as_lower,
    as_networks,
    as_origins,
    as_parts,
    as_path,
    as_port,
    as_redis_url,
)

Transport = Literal["polling", "websocket"]
BridgeSource = Literal["redis-manager", "redis-emitter", "redis-streams-emitter"]
Millis = Annotated[int, Field(gt=0, le=86_400_000)]
Bytes = Annotated[int, Field(gt=0, le=1 << 40)]


class ReadBy(enum.Enum):
    """The only kind of node on which a setting has an effect. A setting without this mark has one on both.

    A bridge is an app-node without handlers: it reads what an app-node reads.
    """

    IO = "io"
    APP = "app"
    BRIDGE = "bridge"


class Settings(BaseSettings):
    """What `node.settings.config.Config` has. `repr=False` marks a secret: no message shows its value."""

    # where
    http_host: str = Field(
        "127.0.0.1",
        description="Address on which an io-node listens (at HTTP_PORT), an app-node (at HEALTH_PORT), and the HTTP "
        "API (at API_PORT). `0.0.0.0` opens it to other machines, `::` to those with IPv6 too.",
    )
    http_port: Annotated[int, ReadBy.IO] = Field(
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
    redis_url: Annotated[str, AfterValidator(as_redis_url)] | None = Field(
        None,
        repr=False,
        description="Whole address of Redis, such as `redis://user:password@host:6379/0`. It begins with `rediss://` "
        "for TLS, with `unix://` for a local socket. If it is set, the three settings above have no effect. "
        "docs/operations.md has the options for a CA of your own.",
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
        "characters. So `web-01` becomes `web01`, and must not stand beside a host `web01`. A longer name is cut off, "
        "and ends in a checksum.",
    )

    # what clients see; the defaults are those of Socket.IO's own server
    socketio_path: Annotated[str, AfterValidator(as_path), ReadBy.IO] = Field(
        "/socket.io",
        description="Path of the URL at which clients find Socket.IO. A slash at its end makes no difference, nor does "
        "anything behind that, such as `/socket.io/v2`.",
    )
    transports: Annotated[tuple[Transport, ...], NoDecode, BeforeValidator(as_parts), ReadBy.IO] = Field(
        ("polling", "websocket"),
        min_length=1,
        description="Transports that clients may use, separated by commas. A request for another gets HTTP 400.",
    )
    allow_upgrades: Annotated[bool, ReadBy.IO] = Field(
        True, description="Whether a connection that began with polling may move to WebSocket (an upgrade)."
    )
    ping_interval_ms: Annotated[Millis, ReadBy.IO] = Field(
        25_000,
        description="Milliseconds from a connection's PONG to the next PING that it gets. nginx' `NGINX_SILENCE` "
        "(120 s) must be longer than this and PING_TIMEOUT_MS together.",
    )
    ping_timeout_ms: Annotated[Millis, ReadBy.IO] = Field(
        20_000,
        description="Milliseconds in which a connection must answer a PING. If it does not, it is closed with the "
        "reason `ping timeout`. It gets more time while it takes what was sent to it, or while the io-node does not "
        "read from it. For nginx, see PING_INTERVAL_MS.",
    )
    upgrade_timeout_ms: Annotated[Millis, ReadBy.IO] = Field(
        10_000,
        description="Milliseconds in which an upgrade must be complete. If not, the connection stays on polling.",
    )
    connect_timeout_ms: Annotated[Millis, ReadBy.IO] = Field(
        45_000,
        description="Milliseconds in which a connection that is in no namespace must send a CONNECT. If it does not, "
        "it is closed. Once it has sent one, it may wait for the application, and for CONNECT_RATE, as long as it "
        "takes.",
    )
    max_payload_bytes: Annotated[Bytes, ReadBy.IO] = Field(
        1_000_000,
        description="Most bytes in one packet of a client, its attachments included, and in one polling request. "
        "A larger packet closes the connection; a larger request gets HTTP 413. nginx' `NGINX_MAX_BODY` (3 MB) must be "
        "larger than this.",
    )
    max_attachments: int = Field(
        10,
        ge=0,
        le=10_000,
        description="Most binary attachments in one packet. If a client sends more, its io-node closes the connection. "
        "If a handler emits more, its app-node raises ValueError. An app-node allows at least 10, which is what the "
        "official JavaScript client takes.",
    )
    max_namespaces: Annotated[int, ReadBy.IO] = Field(
        100,
        ge=1,
        description="Most namespaces that one connection may be in. A CONNECT to one more is refused, and the "
        "connection stays open.",
    )
    cors_allowed_origins: Annotated[
        tuple[str, ...] | None, NoDecode, BeforeValidator(as_parts), AfterValidator(as_origins), ReadBy.IO
    ] = Field(
        None,
        description="Origins of web pages that may connect, separated by commas, such as `https://example.org`. `*` "
        "allows all; their polling requests then carry no cookies. Pages from elsewhere get HTTP 403. By default only "
        "pages of the same origin may connect; if you set it, list that origin too.",
    )
    cors_credentials: Annotated[bool, ReadBy.IO] = Field(
        True,
        description="Whether pages of the other origins that CORS_ALLOWED_ORIGINS lists may send cookies. It has no "
        "effect with `*`.",
    )
    trusted_proxies: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(as_parts), AfterValidator(as_networks), ReadBy.IO
    ] = Field(
        ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
        description="Networks of your proxies, separated by commas. If a request comes from one of these networks, the "
        "client's address and scheme are taken from its `X-Forwarded-For` and `X-Forwarded-Proto`. `*` trusts "
        "everybody.",
    )

    # bounds and limits of an io-node
    request_timeout_ms: Annotated[Millis, ReadBy.IO] = Field(
        10_000,
        description="Milliseconds in which a client must send the head of a request, and the body of a polling "
        "request. One that is slower gets HTTP 408.",
    )
    uplink_buffer_bytes: Annotated[Bytes, ReadBy.IO] = Field(
        16_000_000,
        description="Most bytes from clients that may wait in an io-node for Redis. While more waits, the io-node "
        "stops reading from each connection that sends anything more. It reads all of them again when no more than "
        "half of this limit waits.",
    )
    downlink_buffer_bytes: Annotated[Bytes, ReadBy.IO] = Field(
        256_000_000,
        description="Most bytes that may wait in an io-node for all its clients together. A message that waits for "
        "many clients counts once. When more waits, the clients for which most waits are closed with the reason "
        "`slow consumer`, until a tenth of the limit is free. Whatever the limit, a client for which something waits, "
        "and which takes nothing of it for PING_TIMEOUT_MS, is closed in the same way.",
    )
    connect_rate: Annotated[int, ReadBy.IO] = Field(
        1_000,
        ge=0,
        le=1_000_000,
        description="CONNECTs that an io-node passes on to the application in one second, on average; after a quiet "
        "time up to twice as many. Further ones wait in the order in which they came. 0 means no limit.",
    )
    drain_ms: Annotated[Millis, ReadBy.IO] = Field(
        10_000,
        description="Milliseconds that a stopping io-node takes to send its clients to other io-nodes. In the first "
        "half it closes its connections in waves. In the second half it writes what still waits for clients. What is "
        "open after that is cut off.",
    )
    client_dist_dir: Annotated[Path | None, ReadBy.IO] = Field(
        None,
        description="Folder of `socket.io.js`, the JavaScript client that io-nodes serve. By default it is "
        "`node_modules/socket.io-client/dist` in the working directory, or in the nearest folder above that has it.",
    )
    admin_ui_dir: Annotated[Path | None, ReadBy.IO] = Field(
        None,
        description="A folder `node_modules` with the npm packages `@socket.io/admin-ui`, `@fontsource/roboto` and "
        "`@mdi/font`. If it is set, the io-node serves the page of Socket.IO's Admin UI at `/admin-ui/`; by default it "
        "does not. The io-node's image has such a folder, `/srv/node_modules`. docs/server.md explains it.",
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
    lane_fair_bytes: Annotated[Bytes, ReadBy.IO] = Field(
        64_000,
        description="Bytes that may wait in one lane before io-nodes stop reading from the connections that send most "
        "of them. A connection that is alone in its lane can send this many bytes in 50 ms: by default about 1.3 MB/s. "
        "docs/operations.md explains it.",
    )
    recovery_window_ms: int = Field(
        120_000,
        ge=0,
        le=86_400_000,
        description="Milliseconds in which a client that lost its connection may come back and get what it missed. "
        "What is said in that time stays in Redis, up to RECOVERY_MAX_BYTES. 0: never, and events have no additional "
        "argument.",
    )
    recovery_clients: Annotated[Literal["known", "all", "asking"], BeforeValidator(as_lower), ReadBy.IO] = Field(
        "known",
        description="Which clients can come back and get what they missed. `known`: browsers, and the JavaScript "
        "client where it can be told from others. `all`: every client. `asking`: only those that say "
        "`recovery=1`. Whoever says `recovery=0` cannot. For clients that can, events that ask for no ack have one "
        "argument more, which the JavaScript client understands from 4.6 on. docs/recovery.md explains it.",
    )
    recovery_max_bytes: Bytes = Field(
        32_000_000,
        description="Most bytes of past messages that each io-node's inbox keeps in Redis for clients that come back. "
        "Beyond it the oldest are removed, and whoever missed them begins a fresh session.",
    )
    recovery_notice: Annotated[Literal["now", "late"], BeforeValidator(as_lower), ReadBy.APP] = Field(
        "now",
        description="When the application hears of a client that lost its connection and may come back. `now`: its "
        "`disconnect` handler runs at once. `late`: it runs when RECOVERY_WINDOW_MS are over, and not at all if the "
        "client is back before.",
    )
    inbox_max_bytes: Bytes = Field(
        64_000_000,
        description="Most bytes that the inbox of one node may hold in Redis. While an io-node's inbox is full, "
        "messages to its clients wait in the app-nodes, and those to other io-nodes go on. When MAX_INFLIGHT_BYTES "
        "wait in an app-node, each `emit` there waits, whatever io-node it is for.",
    )
    lease_ms: Annotated[Millis, ReadBy.APP] = Field(
        5_000,
        ge=300,
        description="Milliseconds for which an app-node holds a lane without renewing its lease. If the app-node is "
        "killed, clients of the lane wait about that long for the next one.",
    )
    heartbeat_ms: Millis = Field(1_000, description="Milliseconds from one heartbeat of a node to the next.")
    node_timeout_ms: Millis = Field(
        10_000,
        description="Milliseconds without a heartbeat after which an app-node declares an io-node dead. It may do so "
        "up to two heartbeats earlier. If no app-node runs at that time, the next one that starts does it. The "
        "application then gets a `disconnect` with the reason `node lost` for each client of the io-node that has not "
        "come back. At least ten times HEARTBEAT_MS.",
    )

    # an app-node
    max_inflight_bytes: Annotated[Bytes, ReadBy.APP] = Field(
        32_000_000,
        description="Most bytes of events that an app-node works on at a time. At this limit it reads no more until "
        "handlers end. Its messages that wait for Redis have a limit of their own of the same size: at that, `emit` "
        "waits.",
    )
    shutdown_ms: Annotated[Millis, ReadBy.APP] = Field(
        10_000,
        description="Milliseconds that running handlers get to finish when an app-node stops, or when a lane moves to "
        "another app-node, as when one is added. If a handler takes longer, the next app-node handles its event again.",
    )
    handler_block_ms: Annotated[int, ReadBy.APP] = Field(
        1_000,
        ge=0,
        le=86_400_000,
        description="Milliseconds after which a handler that blocks the event loop of its app-node is logged, with its "
        "stack. If it blocks for LEASE_MS, the app-node's process ends, to be started anew. 0 switches both off, for "
        "instance while you debug.",
    )
    health_port: Annotated[int | None, ReadBy.APP] = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which an app-node serves /healthz, /readyz and /metrics. By default it serves none.",
    )

    # the HTTP API
    api_port: Annotated[int, ReadBy.APP] = Field(
        8070, ge=0, le=65535, description="Port on which the HTTP API (`sio-cluster api`) listens, at HTTP_HOST."
    )
    api_keys_file: Annotated[Path | None, ReadBy.APP] = Field(
        None,
        description="File with the keys of those who may use the HTTP API, one a line. The API does not start without "
        "it. A change of the file counts a second later. docs/from-any-process.md has its form.",
    )
    api_timeout_ms: Annotated[Millis, ReadBy.APP] = Field(
        5_000,
        description="Milliseconds that a request to the HTTP API waits for Redis. Then it gets HTTP 503. A call's "
        "`timeout` comes on top of that.",
    )
    api_max_body_bytes: Annotated[Bytes, ReadBy.APP] = Field(
        4_000_000, description="Most bytes in the body of a request to the HTTP API. A larger one gets HTTP 413."
    )

    # a bridge
    bridge_redis_url: Annotated[Annotated[str, AfterValidator(as_redis_url)] | None, ReadBy.BRIDGE] = Field(
        None,
        repr=False,
        description="Address of the Redis into which the other programs write, in the form of REDIS_URL. By default "
        "that of the cluster.",
    )
    bridge_sources: Annotated[tuple[BridgeSource, ...], NoDecode, BeforeValidator(as_parts), ReadBy.BRIDGE] = Field(
        ("redis-manager", "redis-emitter", "redis-streams-emitter"),
        min_length=1,
        description="What a bridge listens to, separated by commas. docs/bridges.md says what each is.",
    )
    bridge_channel: Annotated[str, ReadBy.BRIDGE] = Field(
        "socketio",
        min_length=1,
        description="Channel of python-socketio's `RedisManager`: its option `channel`.",
    )
    bridge_key: Annotated[str, ReadBy.BRIDGE] = Field(
        "socket.io",
        min_length=1,
        description="First part of the channels of `@socket.io/redis-emitter`: its option `key`. Also of those of "
        "`@socket.io/redis-streams-adapter`: its option `channelPrefix`.",
    )
    bridge_stream: Annotated[str, ReadBy.BRIDGE] = Field(
        "socket.io",
        min_length=1,
        description="Stream of `@socket.io/redis-streams-emitter`: its option `streamName`.",
    )

    # logs and traces
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(as_lower)] = Field(
        "info", description="Least severe level that is logged: `debug`, `info`, `warning` or `error`."
    )
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(as_lower)] = Field(
        "auto",
        description="`json` or `console`, one line for each event. `auto` is `console` on a terminal, else `json`.",
    )
    trace_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How many of the events get an OpenTelemetry trace: 0.01 is one in a hundred, 1 is all. An io-node "
        "draws lots for each event, an app-node for each emit outside of handlers. If another node traces an event, "
        "this one adds its part whatever the number is. Only 0 switches that off. docs/tracing.md explains it.",
    )
