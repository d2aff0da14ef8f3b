"""What `make run` shows: a panel with the addresses, then each line that a part prints, with its name and a colour."""

import os
import re
import sys

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sio_cluster.node.settings.config import Config
from sio_stack.settings import DEFAULT_WEB, REPOSITORY
from sio_stack.stack import Node, Stack

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NAME_WIDTH = 7


class Screen:
    """Writes to the terminal, or plain lines into a pipe. If the terminal goes away, the cluster goes on."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._gone = False

    def say(self, text: str) -> None:
        self._print(Text(text, style="dim"))

    def refuse(self, text: str) -> None:
        """One line on standard error."""
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            Text.assemble(("make run: ", "bold red"), " ".join(text.split()))
        )

    def line(self, name: str, text: str) -> None:
        body = Text.from_ansi(text) if self._console.is_terminal else Text(_ANSI.sub("", text))
        self._print(Text.assemble((name.ljust(_NAME_WIDTH), self._colour(name)), (" | ", "dim"), body))

    def notice(self, name: str, text: str) -> None:
        self._print(Text.assemble((name.ljust(_NAME_WIDTH), self._colour(name)), (" | ", "dim"), (text, "bold yellow")))

    def running(self, stack: Stack, seconds: float) -> None:
        settings = stack.settings
        rows = Table.grid(padding=(0, 3))
        chat = settings.web is not None and settings.web.endswith(DEFAULT_WEB)
        if settings.web is not None:
            rows.add_row("Open" if chat else "Web", Text(stack.url, style="bold underline"))
        path = stack.config.socketio_path
        rows.add_row("Clients", Text(f"{stack.url}  path {path}/"))
        rows.add_row("Application", Text(_short(settings.app)))
        rows.add_row("io-nodes", Text(f"{len(stack.io_nodes)}  {_named_pids(stack.io_nodes)}"))
        rows.add_row("", Text(f"   {_places(stack.io_nodes)}"))
        rows.add_row("app-nodes", Text(f"{len(stack.app_nodes)}  {_pids(stack.app_nodes)}"))
        rows.add_row("Redis", Text("given by REDIS_URL" if stack.valkey is None else f"Valkey, {stack.redis_url}"))
        rows.add_row("Watch", Text(_watching(stack)))
        title = Text(f"Socket.IO Cluster is ready ({seconds:.1f} s)", style="bold green")
        self._print(Panel(rows, title=title, subtitle=Text("Ctrl-C stops everything", style="dim"), expand=False))

    def _colour(self, name: str) -> str:
        return _COLOURS[sum(name.encode()) % len(_COLOURS)]

    def _print(self, what: Text | Panel) -> None:
        if self._gone:
            return
        try:
            self._console.print(what)
        except OSError:
            self._gone = True
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the interpreter's flush at exit


def _places(nodes: list[Node]) -> str:
    return "127.0.0.1:" + ", ".join(str(node.port) for node in nodes)


def _named_pids(nodes: list[Node]) -> str:
    return f"pid {', '.join(f'{node.pid} ({node.name})' for node in nodes)}"


def _pids(nodes: list[Node]) -> str:
    return f"pid {', '.join(str(node.pid) for node in nodes)}" if nodes else "events wait until one starts"


def _watching(stack: Stack) -> str:
    """The command that shows this cluster. A REDIS_URL that was given may have a password, and its giver has it."""
    settings = [] if stack.settings.redis_url else [f"REDIS_URL={stack.redis_url}"]
    if stack.config.redis_prefix != Config.model_fields["redis_prefix"].default:
        settings.append(f"REDIS_PREFIX={stack.config.redis_prefix}")
    return " ".join([*settings, ".venv/bin/sio-cluster top"])


def _short(target: str) -> str:
    return target.removeprefix(f"{REPOSITORY}/")
