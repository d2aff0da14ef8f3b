"""The settings of a stack, checked before anything is started.

Each refusal is a StackError. Its text is one line that names what to change.
"""

import atexit
import errno
import random
import socket
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[3]
DEFAULT_APP = "examples/chat/app.py:sio"
DEFAULT_WEB = "examples/chat/web.py:app"
MOST_NODES = 64
MOST_RESERVED = 256

_reserved: deque[socket.socket] = deque()
"""What holds the ports that this process was given; the oldest goes when there are more than MOST_RESERVED."""


class StackError(Exception):
    """The stack cannot be started as asked, or one of its parts did not start."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a stack. Raises StackError for a number that is out of range."""

    app: str = DEFAULT_APP
    web: str | None = None
    io_nodes: int = 4
    app_nodes: int = 1
    host: str | None = None  # where nginx listens; None: 127.0.0.1 and ::1
    port: int = 8080  # 0: a free one
    redis_url: str | None = None  # None: the stack starts a Valkey
    env: Mapping[str, str] = field(default_factory=dict)  # the environment of every node, with the settings of Config

    def __post_init__(self) -> None:
        for name, number in (("IO_NODES", self.io_nodes), ("APP_NODES", self.app_nodes)):
            if not 0 <= number <= MOST_NODES:
                raise StackError(f"{name}: {number} is not a number from 0 to {MOST_NODES}")
        if not 0 <= self.port <= 65535:
            raise StackError(f"PORT: {self.port} is not a port from 0 to 65535")

    def config(self) -> Config:
        """The Config that the nodes will read from `env`. Raises StackError, which names the wrong setting."""
        known = {name: self.env[name.upper()] for name in Config.model_fields if self.env.get(name.upper())}
        try:
            return Config(known)
        except ConfigError as error:
            raise StackError(str(error)) from None


def from_environ(environ: Mapping[str, str]) -> Settings:
    """The settings of `make run`. Without WEB, only the chat example has a web application."""
    app = environ.get("APP") or DEFAULT_APP
    web = environ.get("WEB") or (DEFAULT_WEB if app == DEFAULT_APP else None)
    return Settings(
        app=absolute_target(app, REPOSITORY if app == DEFAULT_APP else Path.cwd()),
        web=absolute_target(web, REPOSITORY if web == DEFAULT_WEB else Path.cwd()) if web else None,
        io_nodes=_number(environ, "IO_NODES", 4, 1, MOST_NODES),
        app_nodes=_number(environ, "APP_NODES", 1, 0, MOST_NODES),
        host=environ.get("HOST") or None,
        port=_number(environ, "PORT", 8080, 0, 65535),
        redis_url=environ.get("REDIS_URL") or None,
        env=environ,
    )


def absolute_target(target: str, start: Path) -> str:
    """Makes the path in `path/to/file.py:name` absolute. `module:name` stays as it is."""
    place, colon, name = target.rpartition(":") if ":" in target else (target, "", "")
    return f"{(start / place).resolve()}{colon}{name}" if place.endswith(".py") else target


def listen_addresses(host: str | None, port: int) -> list[tuple[str, int]]:
    """Where nginx listens. Without a host: 127.0.0.1, and ::1 if this machine has it. Port 0 becomes a free one.

    Raises StackError where an address is taken, forbidden or not of this machine. To find out, it binds without
    SO_REUSEPORT: two nginx that both listen with `reuseport` would share the port without an error.
    """
    hosts = [host] if host else ["127.0.0.1", "::1"]
    port = port or free_ports(1)[0]
    return [(name, port) for name in hosts if _can_listen(name, port, must=name != "::1")]


def free_ports(count: int, taken: Iterable[int] = ()) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on, below the range that the kernel gives to outgoing connections.

    A node that is restarted comes back to its port. A port of the kernel's range might by then belong to one of nginx'
    own connections.

    No port is given out twice, by whichever process: it stays reserved until its user had time to listen.
    """
    avoid = set(taken)
    found: list[int] = []
    candidates = iter(random.sample(range(10_000, 30_000), 2_000))
    while len(found) < count:
        port = next(candidates, None)
        if port is None:
            raise StackError("found no free ports on 127.0.0.1")
        if port not in avoid and _is_free(port) and _reserve(port):
            found.append(port)
    return found


def check_redis(url: str) -> None:
    """Raises StackError where nothing listens at the address of the given Redis."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise StackError(f"REDIS_URL: {_without_password(url)} is not redis://host:port or rediss://host:port")
    try:
        socket.create_connection((parts.hostname, parts.port or 6379), timeout=3).close()
    except OSError as error:
        raise StackError(f"REDIS_URL: no Redis at {parts.hostname}:{parts.port or 6379} ({reason(error)})") from None


def reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"...@{tail}" if at and head else url


def _number(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise StackError(f"{name}: {text!r} is not a whole number from {least} to {most}")
    return int(text)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _reserve(port: int) -> bool:
    """Binds the UDP port of the same number, which nobody here uses. False where another process has done so."""
    mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        mark.bind(("127.0.0.1", port))
    except OSError:
        mark.close()
        return False
    _reserved.append(mark)
    if len(_reserved) > MOST_RESERVED:
        _reserved.popleft().close()
    return True


@atexit.register
def _let_go() -> None:
    while _reserved:
        _reserved.popleft().close()


def _can_listen(host: str, port: int, *, must: bool) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as nginx does: TIME_WAIT is no hindrance
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StackError(f"port {port} is taken: stop what listens there, or choose another with PORT=") from None
        if must:
            raise StackError(f"cannot listen on {host}:{port}: {reason(error)}") from None
        return False
    return True
