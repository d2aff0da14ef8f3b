"""The command `app-node`: what it says when it cannot run, and that it stops cleanly."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from typer.testing import CliRunner, Result

from app_node.cli import cli
from sio_cluster.compiled.form import running_form
from sio_cluster.node.settings.config import Config
from sio_cluster.testing.patience import PROCESS_S
from sio_cluster.testing.valkey import Valkey
from sio_stack.settings import free_ports

pytestmark = pytest.mark.slow

APP = """
import app_node
sio = app_node.get_client()
server = object()
@sio.event
async def connect(sid, environ): pass
"""
COMMAND = Path(sys.executable).with_name("app-node")


@pytest.fixture
def own_process_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the command imports and sets is forgotten after the test."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    with patch.dict(os.environ), patch.dict(sys.modules):
        yield


def refused(*arguments: str) -> Result:
    """The command in this process, which is soon over: it refuses before it starts anything."""
    return CliRunner().invoke(cli, arguments)


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], env=os.environ | env, capture_output=True, text=True, timeout=PROCESS_S, check=False
    )


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "chat_app.py"
    path.write_text(APP)
    return path


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nosuchmodule:sio", "there is no module 'nosuchmodule'"),
        ("{app}:nothing", "has no 'nothing'"),
        ("{app}:server", "is a builtins.object, not what app_node.get_client() returns"),
        ("{app}x.py:sio", "there is no file"),
        ("{app}", "is not of the form"),
    ],
)
@pytest.mark.usefixtures("own_process_state")
def test_one_clear_line_and_status_2(app: Path, target: str, message: str) -> None:
    done = refused(target.format(app=app))
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("source", "where", "error"),
    [
        ("import app_node\n\nsio = app_node.get_client(", "3", "SyntaxError"),
        ("import json\nx = 1\njson.loads('{')", "3", "JSONDecodeError"),
        ("import sys\n\nsys.exit(3)", "3", "SystemExit: 3"),
        ("class Odd(BaseException): pass\nraise Odd", "2", "Odd"),
        ("import nosuchmodule", "1", "ModuleNotFoundError: No module named 'nosuchmodule'"),
    ],
)
@pytest.mark.usefixtures("own_process_state")
def test_broken_application(tmp_path: Path, source: str, where: str, error: str) -> None:
    path = tmp_path / "broken_app.py"
    path.write_text(source)
    done = refused(f"{path}:sio")
    assert done.exit_code == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"app-node: {path}:{where}: {error}")
    assert "Traceback" in refused(f"{path}:sio", "--log-level", "debug").stderr


def test_a_broken_application_ends_the_process(tmp_path: Path) -> None:
    path = tmp_path / "broken_app.py"
    path.write_text("import sys\n\nsys.exit(3)")
    done = run(f"{path}:sio")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"app-node: {path}:3: SystemExit: 3\n"


@pytest.mark.parametrize("leave", ["sys.exit(7)", "raise Odd"])
def test_what_on_start_raises_ends_the_process(tmp_path: Path, redis_config: Config, leave: str) -> None:
    path = tmp_path / "leaving_app.py"
    path.write_text(
        f"import sys\nimport app_node\nsio = app_node.get_client()\nclass Odd(BaseException): pass\n"
        f"@sio.on_start\nasync def prepare(): {leave}\n"
    )
    done = run(f"{path}:sio", REDIS_URL=redis_config.redis_url or "", REDIS_PREFIX=redis_config.redis_prefix)
    assert done.returncode == (7 if "exit" in leave else 1)
    assert ("Odd" in done.stderr) == (leave == "raise Odd")
    assert "exit_ignored" not in done.stderr


def test_wrong_setting_and_another_cluster(app: Path, redis_config: Config) -> None:
    done = run(f"{app}:sio", LANES="many")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "LANES" in done.stderr


def test_serves_stops_and_refuses_to_join_what_does_not_fit(app: Path, valkey: Valkey, redis_config: Config) -> None:
    port, another = map(str, free_ports(2))
    env = {"REDIS_URL": valkey.url, "REDIS_PREFIX": redis_config.redis_prefix, "HEALTH_PORT": port}
    process = subprocess.Popen([COMMAND, f"{app}:sio"], env=os.environ | env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "app_node_started" in line:
                break
        assert str(running_form()) in line
        assert status(port, "/healthz") == 200
        assert status(port, "/readyz") in (200, 503)  # its first canary may be under way
        other = run(f"{app}:sio", **env | {"HEALTH_PORT": another, "LANES": "3"})
        assert other.returncode == 2
        assert "LANES is 3 here, but the cluster runs with 16" in other.stderr.splitlines()[-1]
        taken = run(f"{app}:sio", **env)
        assert taken.returncode == 2
        assert "HEALTH_PORT" in taken.stderr.splitlines()[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PROCESS_S) == 0
        assert "app_node_stopped" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def status(port: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PROCESS_S) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_image_brings_the_command_for_dead_letters(valkey: Valkey) -> None:
    """Beside `app-node`, so that `docker compose exec app-node sio-cluster ...` finds it."""
    done = subprocess.run(
        [COMMAND.with_name("sio-cluster"), "dead-letters", "list"],
        env=os.environ | {"REDIS_URL": valkey.url, "REDIS_PREFIX": "nowhere"},
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "sio-cluster: there is no cluster of this REDIS_PREFIX in this Redis\n"
    assert not done.stdout
