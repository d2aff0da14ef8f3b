"""The command io-node, most of it as a process."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest
import typer
import websockets
from typer.testing import CliRunner

from io_node import cli
from sio_cluster.compiled.form import running_form
from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.http import http_client
from sio_cluster.testing.patience import PROCESS_S
from sio_cluster.testing.valkey import start_valkey

pytestmark = pytest.mark.slow


@pytest.fixture
def run_cli(tmp_path: Path) -> Callable[..., Any]:
    def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "io_node.cli", *arguments],
            env={**os.environ, "REDIS_PORT": "1", **environ},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PROCESS_S,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--app", "nothing"], "not of the form"),
        (["--app", "no_such_module:app"], "there is no module 'no_such_module'"),
        (["--app", "missing.py:app"], "there is no file missing.py"),
        (["--app", "broken.py:app"], "broken.py:2: ZeroDivisionError"),
        (["--app", "syntax.py:app"], "syntax.py:1: SyntaxError"),
        (["--app", "leaves.py:app"], "leaves.py:2: SystemExit: 3"),
        (["--app", "odd:app"], "odd.py:2: Odd"),
        (["--app", "fine.py:other"], "fine.py has no 'other'"),
        (["--app", "fine.py:number"], "not an ASGI application but int"),
        (["-p", "70000"], "HTTP_PORT"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    """In this process, which is soon over: the command refuses before it starts anything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "broken.py").write_text("x = 1\nx / 0\n")
    (tmp_path / "syntax.py").write_text("def (\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "odd.py").write_text("class Odd(BaseException): pass\nraise Odd\n")
    (tmp_path / "fine.py").write_text("number = 1\n")
    command = typer.Typer()
    command.command()(cli.run)
    with patch.dict(sys.modules):
        done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"), [(["--host", "192.0.2.1"], "HTTP_HOST"), (["--app", "leaves.py:app"], "SystemExit: 3")]
)
def test_it_ends_the_process(tmp_path: Path, run_cli: Callable[..., Any], arguments: list[str], says: str) -> None:
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    done = run_cli(*arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr


def test_a_wrong_setting_is_named(run_cli: Callable[..., Any]) -> None:
    done = run_cli(PING_INTERVAL_MS="soon")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "PING_INTERVAL_MS" in done.stderr


def test_a_taken_port_is_said(run_cli: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_cli("-p", str(port))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{port} on 127.0.0.1 is already in use" in done.stderr


@pytest.fixture
async def start_cli(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    started: list[asyncio.subprocess.Process] = []

    async def start(*arguments: str, **environ: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "io_node.cli",
            *arguments,
            env={**os.environ, "HTTP_PORT": "0", "LOG_FORMAT": "json", **environ},
            cwd=tmp_path,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _line(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    """The next log line of this event."""
    assert process.stderr is not None
    async with asyncio.timeout(PROCESS_S):
        async for line in process.stderr:
            fields = json.loads(line)
            assert fields["event"] != "library_log", fields
            if fields["event"] == event:
                return cast(dict[str, Any], fields)
    raise AssertionError(f"it ended without {event}")


async def _no_http(url: str) -> None:
    """Whoever sends this must not write into our log."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    writer.write(b"\x16\x03\x01\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_it_waits_for_redis_and_stops_on_a_signal(start_cli: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await start_cli(REDIS_PORT=str(port), REDIS_HOST="127.0.0.1", DRAIN_MS="300")
    said = await _line(process, "listening")
    url = said["url"]
    assert said["compiled"] == str(running_form())
    await _line(process, "redis_retry")
    async with http_client(base_url=url) as http:
        assert (await http.get("/readyz")).status_code == 503
    await _no_http(url)
    with start_valkey(port):
        await _line(process, "io_node_ready")
        async with websockets.connect(f"{url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket") as client:
            await client.recv()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PROCESS_S):
                await client.wait_closed()
                assert await process.wait() == 0


async def test_a_second_signal_skips_the_draining(start_cli: Callable[..., Any], redis_config: Config) -> None:
    process = await start_cli(
        REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, DRAIN_MS="600000"
    )
    url = (await _line(process, "listening"))["url"]
    await _line(process, "io_node_ready")
    async with http_client(base_url=url) as http:  # a polling client that does not fetch what is said to it
        for _ in range(2):
            assert (await http.get("/socket.io/?EIO=4&transport=polling")).status_code == 200
    process.send_signal(signal.SIGTERM)
    await _line(process, "io_node_draining")
    process.send_signal(signal.SIGTERM)
    await _line(process, "draining_skipped")
    async with asyncio.timeout(PROCESS_S):
        assert await process.wait() == 0


async def test_a_cluster_that_it_does_not_fit_is_said(start_cli: Callable[..., Any], redis_config: Config) -> None:
    bus = RedisBus(redis_config)
    await bus.start()
    await bus.stop()
    process = await start_cli(
        REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, LANES="3", LOG_LEVEL="warning"
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().count("\n") == 1
    assert "LANES" in errors.decode()
