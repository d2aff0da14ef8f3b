"""Logs: one line an event, in JSON or for people, with nothing secret in it."""

import contextlib
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TextIO

import pytest
import structlog

from sio_cluster.node.monitoring.log import configure_logging, configure_logging_of_guest, log_raised
from sio_cluster.node.settings.config import Config

Written = pytest.CaptureFixture[str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """What goes to stderr. Logging is put back as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield capsys
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(written: Written) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.readouterr().err.splitlines()]


def configure(**settings: Any) -> Any:
    configure_logging(Config(**settings), node="io1-abcdef", role="io-node")
    return structlog.get_logger()


def test_json_where_there_is_no_terminal(written: Written) -> None:
    configure().info("lane_acquired", lane=3, token=17)
    [line] = lines(written)
    assert next(iter(line)) == "event"
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert moment.utcoffset() == timedelta(0)
    assert line == {
        "event": "lane_acquired", "lane": 3, "token": 17, "level": "info", "node": "io1-abcdef", "role": "io-node",
    }  # fmt: skip


def test_levels(written: Written) -> None:
    log = configure(LOG_LEVEL="warning")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert [line["event"] for line in lines(written)] == ["c"]


def test_what_a_line_says_itself_counts(written: Written) -> None:
    configure().info("node_lost", node="io2-abcdef")
    [line] = lines(written)
    assert line["node"] == "io2-abcdef"


def test_libraries_write_the_same_lines(written: Written) -> None:
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.addHandler(logging.StreamHandler())
    configure()
    uvicorn.error("cannot start %s", "this")
    uvicorn.warning("Invalid HTTP request received.")  # one for each, whoever sends them
    logging.getLogger("uvicorn.access").info("GET /")
    [line] = lines(written)
    assert (line["event"], line["text"], line["logger"]) == ("library_log", "cannot start this", "uvicorn.error")
    assert line["node"] == "io1-abcdef"


def test_libraries_at_debug(written: Written) -> None:
    configure(LOG_LEVEL="debug")
    logging.getLogger("uvicorn.access").info("GET /")
    assert [line["text"] for line in lines(written)] == ["GET /"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_variables(written: Written, log_format: str) -> None:
    log = configure(LOG_FORMAT=log_format)
    secret = "pass" + "word"
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("handler_failed", sid="x")
        logging.getLogger("library").exception("failed")
    text = written.readouterr().err
    assert text.count("ValueError: broken") == 2
    assert secret not in text


def test_values_that_json_does_not_know(written: Written) -> None:
    configure().info("odd", raw=b"\xff", kind=int)
    assert lines(written)[0]["raw"] == repr(b"\xff")


def test_people_read_columns(written: Written) -> None:
    configure(LOG_FORMAT="console").info("lane_acquired", lane=3)
    [line] = written.readouterr().err.splitlines()
    assert "lane_acquired" in line
    assert "lane=3" in line
    assert "node=io1-abcdef" in line
    assert "role=" not in line
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)
    assert "\x1b" not in line


def test_a_guest_writes_to_stderr_from_its_level_on(written: Written) -> None:
    structlog.reset_defaults()
    configure_logging_of_guest(Config(LOG_LEVEL="warning", LOG_FORMAT="json"))
    structlog.get_logger().info("a")
    structlog.get_logger().warning("b")
    captured = written.readouterr()
    assert captured.out == ""
    assert [json.loads(line)["event"] for line in captured.err.splitlines()] == ["b"]


def _broken_pipe() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def _closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    ("as_guest", "stderr"), [(True, _broken_pipe), (True, _closed), (True, None), (False, _broken_pipe), (False, None)]
)
def test_a_stderr_that_takes_nothing_harms_nobody(
    written: Written, monkeypatch: pytest.MonkeyPatch, as_guest: bool, stderr: Callable[[], TextIO] | None
) -> None:
    """As where the program that read the logs has ended, and in a daemon."""
    structlog.reset_defaults()
    stream = None if stderr is None else stderr()
    monkeypatch.setattr(sys, "stderr", stream)
    if as_guest:
        configure_logging_of_guest(Config())
    else:
        configure()
    structlog.get_logger().warning("a")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        structlog.get_logger().exception("b")
    monkeypatch.undo()
    if stream is not None:
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def test_a_guest_leaves_its_host_s_logs_alone(written: Written) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    configure_logging_of_guest(Config())
    structlog.get_logger().info("mine")
    assert json.loads(written.readouterr().out) == {"event": "mine"}


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("failure", [KeyError, SystemExit])
def test_an_error_that_cannot_be_written_is_named(
    written: Written, log_format: str, failure: type[BaseException]
) -> None:
    class Unwritable(Exception):
        def __getattr__(self, name: str) -> None:
            raise failure(name)

    configure(LOG_FORMAT=log_format)
    try:
        raise Unwritable
    except Unwritable:
        log_raised("handler_failed", sid="x")
    text = written.readouterr().err
    assert "handler_failed" in text
    assert "Unwritable" in text
    assert "test_log.py" in text


_HOSTILE = "\x1b[2Jcleared\r\u202e\x9b\n12:00:00.000 [error    ] forged"


def _of_a_field() -> None:
    structlog.get_logger().warning("handler_failed", name=_HOSTILE)


def _of_a_library() -> None:
    logging.getLogger("library").error(_HOSTILE)


def _of_an_exception() -> None:
    try:
        raise ValueError(_HOSTILE)
    except ValueError:
        structlog.get_logger().exception("handler_failed")


def _of_a_stack() -> None:
    structlog.get_logger().error("handler_blocks", stack=_HOSTILE)


def _of_an_event() -> None:
    structlog.get_logger().info(_HOSTILE)


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    ("write", "as_guest"),
    [
        *((write, False) for write in (_of_a_field, _of_an_event, _of_an_exception, _of_a_stack, _of_a_library)),
        *((write, True) for write in (_of_a_field, _of_an_event, _of_an_exception, _of_a_stack)),
    ],
)
def test_a_terminal_obeys_nothing_that_clients_send(
    written: Written, log_format: str, write: Callable[[], None], as_guest: bool
) -> None:
    """Control characters are escaped, and no text begins a line: it could look like a line of the log."""
    if as_guest:
        structlog.reset_defaults()
        configure_logging_of_guest(Config(LOG_FORMAT=log_format))
    else:
        configure(LOG_FORMAT=log_format)
    write()
    text = written.readouterr().err
    assert "forged" in text
    assert [one for one in text if not one.isprintable() and one != "\n"] == []
    assert [line for line in text.splitlines() if line.startswith("12:00")] == []
