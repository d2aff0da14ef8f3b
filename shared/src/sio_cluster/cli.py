"""The command `sio-cluster`: questions that people ask of a running cluster.

    sio-cluster dead-letters list|show|requeue|delete
    sio-cluster nodes
    sio-cluster doctor
    sio-cluster top

Other packages of the cluster add commands of their own, by an entry point of the group `sio_cluster_commands`: a
function that is given `cli`. So a package that is not installed costs nothing, and this one need not know it.

Settings come from the environment, as for the nodes: REDIS_URL or REDIS_HOST, REDIS_PORT, REDIS_PASSWORD; REDIS_PREFIX.
"""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import entry_points
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sio_cluster.doctor import examining
from sio_cluster.doctor.finding import has_problem, line_of, table_of
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_uplink
from sio_cluster.protocol.errors import BusError, ConfigError, MalformedBatch
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.dead_letters import DeadLetter, DeadLetters
from sio_cluster.streams.redis.overview import Overview
from sio_cluster.top.screen import frame
from sio_cluster.top.watching import Wish, look_once, watch

EXIT_NOT_FOUND = 1
EXIT_REFUSED = 2
EXIT_PROBLEM = 1
WIDEST = 10_000  # columns of a table that goes into a pipe or a file
HEX_BYTES = 512  # how much is shown of an entry that is not even msgpack

_T = TypeVar("_T")

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
dead_letters = typer.Typer(no_args_is_help=True, help="Lane entries that were set aside.")
cli.add_typer(dead_letters, name="dead-letters")

Lane = Annotated[int, typer.Argument(help="Its lane", min=0, show_default=False)]
Id = Annotated[str | None, typer.Argument(help="Its id, as `list` or the log shows it", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document for programs")]
All = Annotated[bool, typer.Option("--all", help="All dead letters of this lane, instead of one")]


def namespace_option(help: str) -> Any:
    """An option that takes a namespace. Without its slash it would be one that no client can be in, and is refused."""

    def rooted(value: str) -> str:
        if not value.startswith("/"):
            refuse(f"a namespace begins with a slash: /{value}", EXIT_REFUSED)
        return value

    return typer.Option(help=help, callback=rooted)


@cli.callback()
def root() -> None:
    """Questions about a running cluster. Settings come from the environment, as for its nodes."""


@cli.command()
def nodes(as_json: AsJson = False) -> None:
    """Lists the nodes of the cluster, and what each of them holds."""
    found = answer_of(lambda bus: Overview(bus.connections, bus.keys).nodes())
    if as_json:
        typer.echo(json.dumps([asdict(node) for node in found], indent=2))
        return
    table = Table("node", "kind", "state", "level", "clients", "lanes")
    for node in found:
        lanes = "" if node.lanes is None else ", ".join(map(str, node.lanes)) or "none"
        table.add_row(node.id, node.kind, node.state, _shown(node.level), _shown(node.clients), lanes)
    console().print(table if found else "There are no nodes.")


@cli.command()
def doctor(as_json: AsJson = False) -> None:
    """Checks Redis, the cluster and this machine. Ends with status 1 where something is a problem."""
    try:
        found = asyncio.run(examining.findings(Config()))
    except ConfigError as error:
        refuse(error, EXIT_REFUSED)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    elif sys.stdout.isatty():
        Console().print(table_of(found))
    else:
        typer.echo("\n".join(map(line_of, found)))
    if has_problem(found):
        raise typer.Exit(EXIT_PROBLEM)


@cli.command()
def top(
    namespace: Annotated[str, namespace_option("The namespace whose rooms are shown")] = "/",
    rows: Annotated[int, typer.Option(help="The most rows of a table", min=1, max=200)] = 16,
    interval: Annotated[float, typer.Option(help="Seconds between two looks", min=0.1)] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One frame")] = False,
    as_json: AsJson = False,
) -> None:
    """Shows nodes, lanes and the largest rooms, until Ctrl-C. One frame where stdout is no terminal."""
    wish, screen = Wish(namespace, rows, interval), console()
    if as_json or once or not screen.is_terminal:
        view = answer_of(lambda bus: look_once(bus, wish))
        typer.echo(json.dumps(asdict(view), indent=2)) if as_json else screen.print(frame(view, rows))
        return
    with contextlib.suppress(KeyboardInterrupt):
        answer_of(lambda bus: watch(bus, wish, screen))


@dead_letters.command("list")
def show_list(
    lane: Annotated[int | None, typer.Option(help="Only those of this lane", min=0)] = None,
    limit: Annotated[int, typer.Option(help="How many at most; the newest are shown", min=1)] = 100,
    as_json: AsJson = False,
) -> None:
    """Lists dead letters: what was set aside, when, and why."""

    async def found(letters: DeadLetters) -> list[DeadLetter]:
        return await letters.newest(range(await _lanes(letters)) if lane is None else [lane], limit)

    letters = _run(found)
    if as_json:
        typer.echo(json.dumps([_summary(letter) for letter in letters], indent=2))
        return
    table = Table("lane", "id", "set aside", "bytes", "why")
    for letter in letters:
        when = datetime.fromtimestamp(letter.set_aside_at).astimezone().isoformat(" ", "seconds")
        table.add_row(str(letter.lane), letter.id, when, str(len(letter.entry)), escape(ascii(letter.why)[1:-1]))
    console().print(table if letters else "There are no dead letters.")


@dead_letters.command()
def show(
    lane: Lane,
    id: Annotated[str, typer.Argument(help="Its id, as `list` or the log shows it", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Shows one dead letter, decoded as far as possible."""
    letter = _one(lane, id)
    shown = {**_summary(letter), "entry_id": letter.entry_id, **_decoded(letter.entry)}
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    for name, value in shown.items():
        typer.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value, indent=2)}")


@dead_letters.command()
def requeue(lane: Lane, id: Id = None, every: All = False) -> None:
    """Puts dead letters back to the end of their lane: after an upgrade that can handle them."""
    _each(lane, id, every, lambda letters: letters.requeue, "put back")


@dead_letters.command()
def delete(lane: Lane, id: Id = None, every: All = False) -> None:
    """Removes dead letters for good."""
    _each(lane, id, every, lambda letters: letters.delete, "deleted")


def main() -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),  # errors are told in one line
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),  # stdout is for answers
    )
    for commands in entry_points(group="sio_cluster_commands"):
        commands.load()(cli)
    cli()


def answer_of(question: Callable[[RedisBus], Awaitable[_T]]) -> _T:
    """What the question brings, which gets a bus. One line and status 2 where Redis or the settings are at fault."""

    async def ask() -> _T:
        bus = RedisBus(Config())
        try:
            return await question(bus)
        finally:
            await bus.stop()

    try:
        return asyncio.run(ask())
    except (ConfigError, BusError) as error:
        refuse(error, EXIT_REFUSED)
    except UnicodeEncodeError:  # bytes of the command line that are no text
        refuse("an argument is not UTF-8", EXIT_REFUSED)


def console() -> Console:
    """What prints tables. Where stdout is no terminal, no cell is cut."""
    return Console(width=None if sys.stdout.isatty() else WIDEST)


def refuse(why: object, status: int) -> NoReturn:
    """Says why, in one line, and ends with this status."""
    typer.echo(f"sio-cluster: {why}", err=True)
    raise typer.Exit(status)


def _each(
    lane: int,
    letter_id: str | None,
    every: bool,
    operation: Callable[[DeadLetters], Callable[[DeadLetter], Awaitable[bool]]],
    done: str,
) -> None:
    if (letter_id is None) is not every:
        raise typer.BadParameter("give an id, or --all")

    async def carry_out(letters: DeadLetters) -> int:
        found = await (letters.read([lane]) if letter_id is None else letters.named(lane, letter_id))
        return sum([await operation(letters)(letter) for letter in found])

    number = _run(carry_out)
    typer.echo(f"{number} {done}")
    if not number:
        raise typer.Exit(EXIT_NOT_FOUND)


def _one(lane: int, letter_id: str) -> DeadLetter:
    found = _run(lambda letters: letters.named(lane, letter_id))
    if not found:
        refuse(f"lane {lane} has no dead letter {letter_id}", EXIT_NOT_FOUND)
    return found[0]


async def _lanes(letters: DeadLetters) -> int:
    lanes = await letters.lanes()
    if not lanes:
        raise ConfigError("there is no cluster of this REDIS_PREFIX in this Redis")
    return lanes


def _run(question: Callable[[DeadLetters], Awaitable[_T]]) -> _T:
    return answer_of(lambda bus: question(DeadLetters(bus.connections, bus.keys)))


def _shown(number: int | None) -> str:
    return "" if number is None else str(number)


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "lane": letter.lane,
        "id": letter.id,
        "set_aside_at": letter.set_aside_at,
        "bytes": len(letter.entry),
        "why": letter.why,
    }


def _decoded(entry: bytes) -> dict[str, Any]:
    """The batch as JSON; of an entry that is no batch what msgpack makes of it; else its first bytes in hex."""
    try:
        return {"batch": _plain(msgspec.to_builtins(decode_uplink(entry), builtin_types=(bytes,)))}
    except MalformedBatch:
        pass  # shown as far as it goes
    try:
        return {"msgpack": _plain(msgspec.msgpack.decode(entry))}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"hex": entry[:HEX_BYTES].hex(" "), "more_bytes": max(0, len(entry) - HEX_BYTES)}


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("ascii", "backslashreplace")
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(_plain(key)): _plain(item) for key, item in value.items()}
        case None | bool() | int() | float() | str():
            return value
        case _:
            return repr(value)


if __name__ == "__main__":
    main()
