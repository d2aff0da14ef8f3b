"""Logs: one line an event, a constant name and fields, JSON in containers and readable in a terminal.

    log = structlog.get_logger()
    log.info("lane_acquired", lane=3, token=17)

What happens per client is logged at debug, what happens per node or lane at info: at the default level ten thousand
clients make no more lines than ten.
"""

import contextlib
import logging
import sys
import traceback
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from sio_cluster.node.monitoring.tracers import ids_for_logs
from sio_cluster.node.settings.config import Config

_QUIET = {
    "uvicorn.access": logging.WARNING,
    "uvicorn.error": logging.ERROR,  # its name for all its other lines; a warning is a request that is no HTTP
    "picows": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Libraries that log a line for each client or request. These lines are written at LOG_LEVEL=debug only."""


_OF_SEVERAL_LINES = ("exception", "stack")
"""Fields that a terminal shows below the line."""


def configure_logging(config: Config, *, node: str, role: str) -> None:
    """Sends all logs of this process, those of the standard library too, to stderr; each line says `node` and `role`.

    `node` is the node's id, `role` is "io-node" or "app-node". Call it once, before the first line. Tracebacks carry
    no values of variables, as those may be secrets. With TRACE_RATIO a line also has the ids of the span that is
    current where it is written.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        *ids_for_logs(config),
        *(_for_eyes(node) if _on_console(config) else _for_machines(node, role)),
    ]
    level = getattr(logging, config.log_level.upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name_foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(config)],
        )
    )
    _route_standard_library(handler, level)


def configure_logging_of_guest(config: Config) -> None:
    """For a node inside somebody else's program, such as a backend that only emits.

    structlog's defaults would print debug lines, and tracebacks with the values of variables, to stdout. This writes to
    stderr, and only lines of LOG_LEVEL or higher. A structlog that was configured before stays as it is, and so do the
    logs of the standard library.
    """
    if structlog.is_configured():
        return
    moment = structlog.processors.TimeStamper(fmt="iso", utc=True)
    level = structlog.processors.add_log_level
    merge, ids = structlog.contextvars.merge_contextvars, ids_for_logs(config)
    structlog.configure(
        processors=[merge, level, *ids, moment, *_renderer(config)],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, config.log_level.upper())),
        logger_factory=lambda *_: _Stderr(),
    )


def log_raised(event: str, **fields: Any) -> None:
    """Logs what the application raised, with its traceback. To be called in the `except` clause. Raises nothing.

    Such an error may raise another one while it is written: a `__getattr__` or `__str__` of its class may fail. Then
    the line has its type, and where it was raised. A logger of the application's that fails costs the line.
    """
    kind, _, where = sys.exc_info()
    log = structlog.get_logger()
    try:
        log.exception(event, **fields)
    except BaseException:  # noqa: BLE001 - whatever the error's own class raises
        with contextlib.suppress(BaseException):
            log.error(event, **fields, exception="".join([*traceback.format_tb(where), f"{kind}"]))


class _Stderr:
    """Writes lines to stderr as it is now. A line that cannot be written is lost, and nothing else.

    The reader of a pipe may have ended, and a daemon may have no stderr. The standard library's handlers bear that too.
    """

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg


def _is_terminal() -> bool:
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def _on_console(config: Config) -> bool:
    return config.log_format == "console" or (config.log_format == "auto" and _is_terminal())


def _for_machines(node: str, role: str) -> list[Processor]:
    return [structlog.processors.TimeStamper(fmt="iso", utc=True), _Identity(node=node, role=role)]


def _for_eyes(node: str) -> list[Processor]:
    """Short enough for a terminal: the time of day, and no role, which a person knows."""
    return [structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False), _cut_to_milliseconds, _Identity(node=node)]


def _cut_to_milliseconds(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return {**event, "timestamp": event["timestamp"][:-3]}


class _Identity:
    """Adds who writes, after the fields of the line itself."""

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {**event, **{name: value for name, value in self._fields.items() if name not in event}}


def _name_foreign(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A line of a library: a constant event name, its text as a field."""
    record: logging.LogRecord | None = event.get("_record")
    event["text"] = event["event"]
    event["event"] = "library_log"
    if record is not None:
        event["logger"] = record.name
    return event


def _renderer(config: Config) -> list[Processor]:
    if _on_console(config):
        colors = _is_terminal()
        return [
            _show_what_is_not_printable,
            structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=28, exception_formatter=_write_traceback),
        ]
    return [structlog.processors.format_exc_info, _event_first, structlog.processors.JSONRenderer(default=str)]


def _show_what_is_not_printable(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Clients choose names of events and more: a terminal would obey what their control characters say."""
    shown = {}
    for name, value in event.items():
        if not isinstance(value, str):
            shown[name] = value  # it is written by `repr`, which escapes what is not printable
        elif name in _OF_SEVERAL_LINES:
            shown[name] = _indented(value)
        else:
            shown[name] = value if value.isprintable() else _Escaped(value)
    return shown


class _Escaped:
    """Written as in Python: `'\\x1b[2J'`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def _write_traceback(stream: TextIO, raised: tuple[type[BaseException], BaseException, TracebackType | None]) -> None:
    stream.write("\n" + _indented("".join(traceback.format_exception(*raised))))


def _indented(text: str) -> str:
    """So no line of an exception's text looks like a line of the log. What is not printable is escaped."""
    return "\n".join(f"  {_printable(line)}" for line in text.rstrip("\n").split("\n"))


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)


def _event_first(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Puts the event first: people read a line from the left."""
    name = event.pop("event")
    return {"event": name, **event}


def _route_standard_library(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    loggers: list[Any] = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    for logger in loggers:  # a handler that a library added itself would write its lines a second time
        logger.handlers.clear()
        logger.propagate = True
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(logging.NOTSET if level <= logging.DEBUG else max(quiet, level))
