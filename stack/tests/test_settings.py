"""A wrong setting is refused with one line that names it, before anything is started."""

import socket
from pathlib import Path

import pytest

from sio_cluster.node.settings.config import Config
from sio_stack.cli import environ_of_nodes
from sio_stack.front_door import TEMPLATE, fill_in, render
from sio_stack.settings import (
    DEFAULT_APP,
    Settings,
    StackError,
    absolute_target,
    check_redis,
    free_ports,
    from_environ,
    listen_addresses,
)
from sio_stack.targets import check_targets

pytestmark = pytest.mark.slow


def test_defaults_are_the_chat_example_on_8080():
    settings = from_environ({})
    assert (settings.io_nodes, settings.app_nodes, settings.port) == (4, 1, 8080)
    assert settings.app.endswith(DEFAULT_APP)
    assert settings.web is not None
    assert settings.web.endswith("examples/chat/web.py:app")


def test_another_app_has_no_web_by_itself():
    assert from_environ({"APP": "mine:sio"}).web is None
    assert from_environ({"APP": "mine:sio", "WEB": "mine:web"}).web == "mine:web"


def test_make_run_takes_part_in_load_tests_unless_it_is_told_not_to(monkeypatch):
    monkeypatch.delenv("LOADTEST", raising=False)
    assert environ_of_nodes()["LOADTEST"] == "1"
    monkeypatch.setenv("LOADTEST", "0")
    assert environ_of_nodes()["LOADTEST"] == "0"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"IO_NODES": "x"}, "IO_NODES: 'x'"),
        ({"IO_NODES": "0"}, "IO_NODES: '0'"),
        ({"IO_NODES": "65"}, "IO_NODES: '65'"),
        ({"IO_NODES": "²"}, "IO_NODES: '²'"),
        ({"APP_NODES": "-1"}, "APP_NODES: '-1'"),
        ({"PORT": "65536"}, "PORT: '65536'"),
        ({"PORT": "8080.5"}, "PORT: '8080.5'"),
    ],
)
def test_wrong_numbers_are_named(environ, words):
    with pytest.raises(StackError, match=words):
        from_environ(environ)


def test_a_wrong_setting_of_the_nodes_is_named():
    with pytest.raises(StackError, match="PING_INTERVAL_MS"):
        from_environ({"PING_INTERVAL_MS": "soon"}).config()


def test_a_file_becomes_absolute_a_module_stays(tmp_path):
    assert absolute_target("some/app.py:sio", tmp_path) == f"{tmp_path.resolve()}/some/app.py:sio"
    assert absolute_target("some.app:sio", tmp_path) == "some.app:sio"


@pytest.mark.parametrize("listening_on", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_refused(listening_on):
    with socket.socket() as other:
        other.bind((listening_on, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} is taken"):
            listen_addresses(None, port)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(StackError, match=r"cannot listen on 192.0.2.1"):
        listen_addresses("192.0.2.1", 0)


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(10_000 <= port < 30_000 for port in ports)


def test_a_port_that_nobody_listens_on_yet_is_not_given_out_again(monkeypatch):
    first, other = free_ports(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:  # as another process would
        reserved.bind(("127.0.0.1", 0))
        theirs = reserved.getsockname()[1]
        monkeypatch.setattr("sio_stack.settings.random.sample", lambda *_: [first, other, theirs])
        with pytest.raises(StackError, match="no free ports"):
            free_ports(1)


@pytest.mark.parametrize("url", ["http://x", "redis://", "nonsense", "redis://user:secret@127.0.0.1:1"])
def test_an_outside_redis_that_is_not_there_is_refused_without_its_password(url):
    with pytest.raises(StackError, match="REDIS_URL: ") as refusal:
        check_redis(url)
    assert "secret" not in str(refusal.value)


APPS = {
    "ok": ("import app_node\nsio = app_node.get_client()\n", None),
    "missing name": ("other = 1\n", r"has no 'sio'"),
    "not a server": ("sio = 3\n", r"is not what app_node.get_client\(\) returns but int"),
    "syntax": ("x = 1\ndef f(:\n", r"app.py:2: SyntaxError: invalid syntax"),
    "import": ("import no_such_thing\n", r"app.py:1: ModuleNotFoundError: No module named 'no_such_thing'"),
    "raises": ("def f():\n    return 1 / 0\nf()\n", r"app.py:2: ZeroDivisionError: division by zero"),
    "exits": ("raise SystemExit(0)\n", "leaves the interpreter"),
    "kills itself": ("import os\nos._exit(7)\n", r"ended the interpreter \(exit status 7\)"),
}


@pytest.mark.parametrize("case", APPS)
async def test_an_app_is_loaded_before_anything_starts(case, tmp_path, monkeypatch):
    source, words = APPS[case]
    (tmp_path / "app.py").write_text(source)
    check = check_targets(f"{tmp_path}/app.py:sio", None, {})
    if words is None:
        await check
        return
    with pytest.raises(StackError, match=words) as refusal:
        await check
    assert str(refusal.value).startswith("APP: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/no/such/file.py:sio", "there is no file /no/such/file.py"),
        ("no_such_module:sio", r"there is no module '?no_such_module"),
        ("json.no_such:sio", r"there is no module '?json.no_such"),
        ("json", "is not of the form"),
    ],
)
async def test_a_missing_app_is_named(target, words):
    with pytest.raises(StackError, match=words):
        await check_targets(target, None, {})


async def test_a_web_application_must_be_one(tmp_path):
    (tmp_path / "both.py").write_text("import app_node\nsio = app_node.get_client()\napp = 3\n")
    with pytest.raises(StackError, match=r"WEB: .* is not an ASGI application but int"):
        await check_targets(f"{tmp_path}/both.py:sio", f"{tmp_path}/both.py:app", {})


def test_the_number_of_nodes_is_checked_for_tests_too():
    with pytest.raises(StackError, match="IO_NODES"):
        Settings(io_nodes=1000)


def test_nginx_configuration_names_each_node_and_keeps_within_the_nodes_limits():
    config = Config(MAX_PAYLOAD_BYTES=500, PING_INTERVAL_MS=100_000, PING_TIMEOUT_MS=50_000, SOCKETIO_PATH="/rt")
    text = render(config, {"io1": 1001, "io2": 1002}, [("127.0.0.1", 80), ("::1", 80)], Path("/run/here"))
    assert "io1 127.0.0.1:1001;" in text
    assert "server 127.0.0.1:1002 " in text
    assert "listen [::1]:80" in text
    assert "location /rt {" in text
    assert "proxy_read_timeout 210s;" in text
    assert "client_max_body_size 1001000;" in text
    assert "${" not in text


def test_a_variable_of_the_template_that_nobody_gives_is_an_error():
    with pytest.raises(KeyError):
        fill_in(TEMPLATE.read_text(), {})


def test_a_node_that_leaves_gets_no_new_clients_but_keeps_its_own() -> None:
    """Each request of a polling client names its node. As long as that node lives, the request must get there."""
    listen = [("127.0.0.1", 80)]
    text = render(Settings().config(), {"io1": 1001}, listen, Path("/run/here"), {"io2": 1002})
    assert "server 127.0.0.1:1001" in text
    assert "io2 127.0.0.1:1002;" in text
    assert "server 127.0.0.1:1002" not in text
