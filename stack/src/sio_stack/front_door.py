"""nginx' configuration for a cluster on one machine. It fills in the template that Compose uses too.

| variable | here |
|---|---|
| SIO_SERVERS | one `server 127.0.0.1:PORT` for each io-node, for requests |
| SIO_WEBSOCKETS | the same for WebSockets, without a mark for one that has failed |
| SIO_ADDRESSES | one `NAME 127.0.0.1:PORT;` for each io-node; a sid is routed by the name in it |
| SIO_RESOLVER | empty, because addresses are known (Compose: Docker's name server) |
| SIO_LISTEN | one `listen` for each address |
| SIO_MAIN | a `user` line, where nginx runs as root |
| SIO_RUN_DIR | where its pid file and temporary files go |
| SIO_SILENCE, SIO_MAX_BODY, SIO_PATH | from the settings of the io-nodes |
| SIO_OPEN_FILES, SIO_CONNECTIONS | what this machine allows |
"""

import os
import pwd
import re
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from sio_cluster.node.settings.config import Config
from sio_stack.settings import REPOSITORY

TEMPLATE = REPOSITORY / "services/nginx/nginx.conf.template"
MOST_OPEN_FILES = 131_072
MOST_CONNECTIONS = 40_960  # per worker, which takes about 17 MB for them at its start


def render(
    config: Config,
    nodes: Mapping[str, int],
    listen: Sequence[tuple[str, int]],
    run_dir: Path,
    leaving: Mapping[str, int] | None = None,
) -> str:
    """The whole configuration file. `nodes` has the name of each io-node and its port.

    Nodes in `leaving` get no new clients, but still the requests of their own polling clients.
    """
    files = open_files()
    values = {
        "SIO_SERVERS": _servers(nodes, "max_fails=1 fail_timeout=1s"),
        "SIO_WEBSOCKETS": _servers(nodes, "max_fails=0"),
        "SIO_ADDRESSES": "\n        ".join(
            f"{name} 127.0.0.1:{port};" for name, port in {**nodes, **(leaving or {})}.items()
        ),
        "SIO_RESOLVER": "",
        "SIO_LISTEN": "\n        ".join(f"listen {_address(host)}:{port} {_OPTIONS};" for host, port in listen),
        "SIO_MAIN": f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else "",
        "SIO_RUN_DIR": _quoted(run_dir),
        "SIO_SILENCE": f"{(config.ping_interval_ms + config.ping_timeout_ms) // 1000 + 60}s",
        "SIO_MAX_BODY": str(config.max_payload_bytes * 2 + 1_000_000),
        "SIO_PATH": config.socketio_path,
        "SIO_OPEN_FILES": str(files),
        "SIO_CONNECTIONS": str(max(512, min(files - 64, MOST_CONNECTIONS))),
    }
    return fill_in(TEMPLATE.read_text(), values)


def _servers(nodes: Mapping[str, int], options: str) -> str:
    lines = [f"server 127.0.0.1:{port} {options};" for port in nodes.values()]
    return "\n        ".join(lines) or "server 127.0.0.1:9 down;"


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """Does what envsubst does. Raises KeyError for a variable without a value."""
    return re.sub(r"\$\{(SIO_[A-Z_]+)\}", lambda found: values[found[1]], template)


def open_files() -> int:
    """How many files and sockets a process may have open, at most MOST_OPEN_FILES."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)


def workers(master: int) -> list[psutil.Process]:
    """The present workers of this nginx."""
    return psutil.Process(master).children() if master else []


def serving(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that still take new connections. A worker that shuts down says so in its title."""
    return [process for process in processes if _title(process) and "shutting down" not in _title(process)]


def _title(process: psutil.Process) -> str:
    """The command line of a process. Empty where it is gone."""
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
    except psutil.Error:
        return ""


# On other systems `reuseport` exists, but does not spread connections over the workers.
_OPTIONS = "reuseport backlog=4096" if sys.platform == "linux" else "backlog=4096"


def _address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _quoted(path: Path) -> str:
    """A path for nginx' configuration: spaces and backslashes are escaped."""
    text = str(path)
    return text if re.fullmatch(r"[A-Za-z0-9/._+-]+", text) else text.replace("\\", "\\\\").replace(" ", "\\ ")
