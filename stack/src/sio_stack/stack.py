"""`Stack`: a whole cluster as child processes. It is started in order, can be changed, and is stopped in order."""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType

from sio_stack import parts
from sio_stack.front_door import open_files, render, serving, workers
from sio_stack.process import Command, Process
from sio_stack.settings import (
    DEFAULT_APP,
    DEFAULT_WEB,
    REPOSITORY,
    Settings,
    StackError,
    absolute_target,
    check_redis,
    free_ports,
    listen_addresses,
)
from sio_stack.targets import check_targets

RELOAD_S = 5.0

Listener = Callable[[str, str], None]


class Node:
    """One io-node or app-node of the stack."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port  # of an io-node: clients and health; of an app-node: health

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def pid(self) -> int:
        """0 while it does not run. Another one after a restart."""
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Stack:
    """A cluster on free ports, which keeps nothing: `async with Stack(io_nodes=2) as stack`.

    The application `app` is `path/to/file.py:sio` or `module:sio`. A relative path begins at the repository's root.
    `env` adds to the environment of every node, so it may hold any setting. A part that dies is restarted, unless this
    object stopped it. `start` raises StackError, and then leaves nothing running.
    """

    def __init__(
        self,
        *,
        io_nodes: int = 4,
        app_nodes: int = 1,
        app: str = DEFAULT_APP,
        web: str | None = None,
        host: str | None = None,
        port: int = 0,
        redis_url: str | None = None,
        env: Mapping[str, str] | None = None,
        run_dir: Path | None = None,
        on_line: Listener | None = None,
        on_notice: Listener | None = None,
    ) -> None:
        web = web or (DEFAULT_WEB if app == DEFAULT_APP else None)
        self.settings = Settings(
            app=absolute_target(app, REPOSITORY),
            web=absolute_target(web, REPOSITORY) if web else None,
            io_nodes=io_nodes,
            app_nodes=app_nodes,
            host=host,
            port=port,
            redis_url=redis_url,
            env={**os.environ, **(env or {})},
        )
        self.config = self.settings.config()
        self.io_nodes: list[Node] = []
        self.app_nodes: list[Node] = []
        self.valkey: Process | None = None
        self.nginx: Process | None = None
        self.url = ""
        self.redis_url = ""
        self.notices: list[tuple[str, str]] = []
        self._given_run_dir = run_dir
        self._run_dir = Path()
        self._on_line = on_line or (lambda name, text: None)
        self._on_notice = on_notice or (lambda name, text: None)
        self._env: dict[str, str] = {}
        self._listen: list[tuple[str, int]] = []
        self._made = {"io": 0, "app": 0}  # nodes made so far, so that no name is used twice
        self._processes: list[Process] = []

    async def __aenter__(self) -> "Stack":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def check(self) -> None:
        """Raises StackError where the stack cannot be started as asked. Starts nothing that stays.

        It loads the applications once more than `start` does, and says best why one of them cannot be loaded.
        """
        self._check_addresses()
        await check_targets(self.settings.app, self.settings.web, self.settings.env)

    async def start(self) -> None:
        """Starts Redis, the nodes, and nginx. Returns when clients can come."""
        self._check_addresses()
        try:
            self._prepare()
            await self._start_redis()
            settings = self.settings
            await _all(
                *(self._start_io_node() for _ in range(settings.io_nodes)),
                *(self.start_app_node() for _ in range(settings.app_nodes)),
            )
            await self._start_nginx()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops everything: nginx takes no new clients, the io-nodes drain, the app-nodes finish, Redis ends last."""
        try:
            if self.nginx is not None:
                self.nginx.dismiss(signal.SIGQUIT)
            await _all(*(node.process.stop() for node in self.io_nodes))
            if self.nginx is not None:
                await self.nginx.stop()
            await _all(*(node.process.stop() for node in self.app_nodes))
            if self.valkey is not None:
                await self.valkey.stop()
        finally:
            self.kill()
            if self._given_run_dir is None and self._run_dir.is_absolute():
                shutil.rmtree(self._run_dir, ignore_errors=True)

    def kill(self) -> None:
        """Kills everything now."""
        for process in self._processes:
            process.kill()

    async def add_io_node(self, env: Mapping[str, str] | None = None) -> Node:
        """Starts one more io-node, waits until it is ready, and tells nginx. `env` is for this node alone."""
        node = await self._start_io_node(env)
        await self._reload_nginx()
        return node

    async def remove_io_node(self, index: int = -1, number: int = signal.SIGTERM) -> None:
        """Tells nginx to give this io-node no new clients, then ends it by the signal and waits for its end."""
        node = self.io_nodes.pop(index)
        await self._reload_nginx(leaving={node.name: node.port})
        await node.process.stop(number)

    async def start_app_node(self, env: Mapping[str, str] | None = None) -> Node:
        """Starts one more app-node and waits until it is ready. `env` is for this node alone."""
        name, port = self._next("app"), self._free_port()
        own = {**self._env, **(env or {})}
        node = Node(self._process(parts.app_node(name, port, self.settings.app, self.config, own)), port)
        self.app_nodes.append(node)
        await node.process.start()
        return node

    async def stop_app_node(self, index: int = -1, number: int = signal.SIGTERM) -> None:
        """Ends this app-node by the signal and waits for its end. It is not restarted."""
        await self.app_nodes.pop(index).process.stop(number)

    def output(self, name: str) -> list[str]:
        """The last lines that this part printed."""
        return [line for process in self._processes if process.name == name for line in process.lines]

    def _check_addresses(self) -> None:
        if not self._listen:
            if self.settings.redis_url:
                check_redis(self.settings.redis_url)
            self._listen = listen_addresses(self.settings.host, self.settings.port)

    def _prepare(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < open_files():  # children inherit this
            with contextlib.suppress(ValueError, OSError):  # macOS knows another, undocumented limit
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_files(), hard))
        self._run_dir = (self._given_run_dir or Path(tempfile.mkdtemp(prefix="sio-stack-"))).resolve()
        # The data of an earlier run describe clients that are gone, and perhaps another number of lanes.
        shutil.rmtree(self._run_dir / "valkey", ignore_errors=True)
        (self._run_dir / "valkey").mkdir(parents=True)
        host, port = self._listen[0]
        shown = "localhost" if self.settings.host in (None, "0.0.0.0", "::") else host
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

    async def _start_redis(self) -> None:
        if self.settings.redis_url:
            self.redis_url = self.settings.redis_url
        else:
            port = self._free_port()
            self.redis_url = f"redis://127.0.0.1:{port}/0"
            self.valkey = self._process(parts.valkey(port, self._run_dir / "valkey", self.settings.env))
            await self.valkey.start()
        modules = REPOSITORY / "node_modules"
        pages = {"CLIENT_DIST_DIR": str(modules / "socket.io-client/dist"), "ADMIN_UI_DIR": str(modules)}
        self._env = {**pages, **self.settings.env, "REDIS_URL": self.redis_url, "PYTHONUNBUFFERED": "1"}

    async def _start_io_node(self, env: Mapping[str, str] | None = None) -> Node:
        name, port = self._next("io"), self._free_port()
        own = {**self._env, **(env or {})}
        node = Node(self._process(parts.io_node(name, port, self.settings.web, self.config, own)), port)
        self.io_nodes.append(node)
        await node.process.start()
        return node

    async def _start_nginx(self) -> None:
        self._write_nginx_config()
        host, port = self._listen[0]
        self.nginx = self._process(parts.nginx(host, port, self._run_dir, self.settings.env))
        await self.nginx.start()

    async def _reload_nginx(self, leaving: Mapping[str, int] | None = None) -> None:
        """Returns when the new configuration serves: workers of the old one take no new connections any more."""
        assert self.nginx is not None
        self._write_nginx_config(leaving)
        old = workers(self.nginx.pid)
        self.nginx.signal(signal.SIGHUP)
        deadline = time.monotonic() + RELOAD_S
        while serving(old) or not await self.nginx.command.is_ready():
            if time.monotonic() > deadline:
                raise StackError(f"nginx has not taken its new configuration within {RELOAD_S:g} s")
            await asyncio.sleep(0.02)

    def _write_nginx_config(self, leaving: Mapping[str, int] | None = None) -> None:
        ports = {node.name: node.port for node in self.io_nodes}
        (self._run_dir / "nginx.conf").write_text(render(self.config, ports, self._listen, self._run_dir, leaving))

    def _process(self, command: Command) -> Process:
        process = Process(command, self._on_line, self._notice)
        self._processes.append(process)
        return process

    def _notice(self, name: str, text: str) -> None:
        self.notices.append((name, text))
        self._on_notice(name, text)

    def _next(self, kind: str) -> str:
        self._made[kind] += 1
        return f"{kind}{self._made[kind]}"

    def _free_port(self) -> int:
        taken = {node.port for node in (*self.io_nodes, *self.app_nodes)}
        return free_ports(1, taken | {port for _, port in self._listen})[0]


async def _all(*steps: Awaitable[object]) -> None:
    """Lets every step come to its end, then raises the first error."""
    for result in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
