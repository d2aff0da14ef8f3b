"""Settings: where they come from, and that each wrong one is named."""

from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Config.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_those_of_socket_io() -> None:
    config = Config()
    assert config.socketio_path == "/socket.io"
    assert (config.ping_interval_ms, config.ping_timeout_ms) == (25_000, 20_000)
    assert (config.upgrade_timeout_ms, config.connect_timeout_ms) == (10_000, 45_000)
    assert config.max_payload_bytes == 1_000_000
    assert config.transports == ("polling", "websocket")
    assert config.cors_allowed_origins is None
    assert config.lanes == 16
    assert config.redis_address == "redis://localhost:6379/0"


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PING_INTERVAL_MS", "300")
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://a.example, https://b.example ,")
    monkeypatch.setenv("ALLOW_UPGRADES", "false")
    monkeypatch.setenv("REDIS_PASSWORD", "")
    config = Config()
    assert config.ping_interval_ms == 300
    assert config.cors_allowed_origins == ("https://a.example", "https://b.example")
    assert config.allow_upgrades is False
    assert config.redis_password is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://a.example/", "https://a.example"),
        ("HTTPS://A.Example", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80/", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("file://", "file://"),
        ("file:///", "file://"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("null", "null"),
        ("*", "*"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(given: str, kept: str) -> None:
    assert Config(CORS_ALLOWED_ORIGINS=given).cors_allowed_origins == (kept,)


@pytest.mark.parametrize(
    "given",
    [
        "a.example", "localhost:3000", "https://a.example/app", "https://*.a.example", "https://bücher.example",
        "wss://a.example", "ws://localhost:3000", "https://", "http://:3000",
    ],
)  # fmt: skip
def test_what_no_browser_sends_as_origin_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="CORS_ALLOWED_ORIGINS"):
        Config(CORS_ALLOWED_ORIGINS=given)


def test_trusted_proxies_are_networks() -> None:
    assert Config(TRUSTED_PROXIES="10.1.2.3, fd00::/8").trusted_proxies == ("10.1.2.3/32", "fd00::/8")
    assert Config(TRUSTED_PROXIES="*").trusted_proxies == ("*",)
    with pytest.raises(ConfigError, match="TRUSTED_PROXIES"):
        Config(TRUSTED_PROXIES="proxy.example")


def test_a_keyword_wins_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PORT", "9000")
    assert Config().http_port == 9000
    assert Config(HTTP_PORT=9001).http_port == 9001
    assert Config(http_port=9002).http_port == 9002
    assert Config({"HTTP_PORT": 9003}).http_port == 9003
    assert Config({"HTTP_PORT": 9003}, HTTP_PORT=9004).http_port == 9004


def test_the_keys_of_the_original() -> None:
    config = Config(HTTP_HOST="0.0.0.0", HTTP_PORT=80, REDIS_HOST="redis", REDIS_PORT=6380, REDIS_PASSWORD="p@ss/wörd:")
    assert (config.http_host, config.http_port) == ("0.0.0.0", 80)
    assert config.redis_address == "redis://:p%40ss%2Fw%C3%B6rd%3A@redis:6380/0"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6(host: str) -> None:
    assert Config(REDIS_HOST=host).redis_address == "redis://[::1]:6379/0"


def test_a_port_as_kubernetes_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PORT", "tcp://10.0.0.11:6380")
    assert Config().redis_port == 6380


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_line_end_is_no_part_of_a_value(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """As where a file of secrets ends in a line feed, or an editor on Windows wrote a file of variables."""
    for name, value in {"REDIS_PASSWORD": " pass word ", "LOG_LEVEL": "debug", "NODE_NAME": "io1"}.items():
        monkeypatch.setenv(name, value + end)
    config = Config(TRANSPORTS=f"polling{end}")
    assert (config.redis_password, config.log_level, config.node_name) == (" pass word ", "debug", "io1")
    assert config.transports == ("polling",)


def test_levels_and_formats_of_logs_are_taken_in_any_case() -> None:
    config = Config(LOG_LEVEL="INFO", LOG_FORMAT="Json")
    assert (config.log_level, config.log_format) == ("info", "json")


def test_a_url_wins_over_its_parts() -> None:
    assert Config(REDIS_URL="rediss://u:p@h:1/2", REDIS_HOST="other").redis_address == "rediss://u:p@h:1/2"


@pytest.mark.parametrize(
    ("given", "meant"), [("/socket.io", "/socket.io"), ("chat/", "/chat"), ("/a/b/", "/a/b"), ("x", "/x")]
)
def test_paths_take_one_form(given: str, meant: str) -> None:
    assert Config(SOCKETIO_PATH=given).socketio_path == meant


WRONG: list[tuple[str, Any]] = [
    ("HTTP_PORT", -1),
    ("HTTP_PORT", 65536),
    ("HTTP_PORT", "eighty"),
    ("HTTP_PORT", None),
    ("REDIS_HOST", "redis:6379"),
    ("REDIS_HOST", "redis://redis"),
    ("REDIS_PORT", 0),
    ("REDIS_PORT", "tcp://10.0.0.11"),
    ("REDIS_URL", "http://localhost"),
    ("REDIS_URL", "localhost:6379"),
    ("REDIS_PREFIX", "a b"),
    ("REDIS_PREFIX", "a{b}"),
    ("REDIS_PREFIX", ""),
    ("NODE_NAME", "IO1"),
    ("NODE_NAME", "io-1"),
    ("SOCKETIO_PATH", "/"),
    ("TRANSPORTS", "polling,carrier pigeon"),
    ("TRANSPORTS", ""),
    ("TRANSPORTS", ","),
    ("ALLOW_UPGRADES", "perhaps"),
    ("PING_INTERVAL_MS", 0),
    ("PING_INTERVAL_MS", 1.5),
    ("PING_TIMEOUT_MS", -5),
    ("UPGRADE_TIMEOUT_MS", 86_400_001),
    ("CONNECT_TIMEOUT_MS", "45s"),
    ("MAX_PAYLOAD_BYTES", 0),
    ("MAX_ATTACHMENTS", -1),
    ("MAX_NAMESPACES", 0),
    ("DOWNLINK_BUFFER_BYTES", -1),
    ("LANES", 0),
    ("LANES", 4097),
    ("LEASE_MS", 299),
    ("HEALTH_PORT", 70000),
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: "):
        Config(**{name: value})


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value in WRONG if value not in (None, "")])
def test_a_wrong_setting_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    monkeypatch.setenv(name, str(value))
    with pytest.raises(ConfigError, match=rf"^{name}: "):
        Config()


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^unknown setting HTTP_PROT$"):
        Config(HTTP_PROT=1)
    with pytest.raises(ConfigError, match=r"^unknown setting PORT$"):
        Config({"port": 1})


def test_settings_that_do_not_agree() -> None:
    with pytest.raises(ConfigError, match="NODE_TIMEOUT_MS must be at least ten times HEARTBEAT_MS"):
        Config(HEARTBEAT_MS=1001)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"LANES: .*; LEASE_MS: .*; unknown setting X"):
        Config(LANES=0, LEASE_MS=1, X=1)


def test_a_password_does_not_show() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(REDIS_URL=["redis://:secret@h"])
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Config(REDIS_PASSWORD="secret", REDIS_URL="redis://:secret@h"))


def test_settings_do_not_change() -> None:
    with pytest.raises(Exception, match="frozen"):
        Config().lanes = 3


def test_a_heartbeat_counts_for_less_than_the_time_out_within_which_its_node_is_buried() -> None:
    assert Config().heartbeat_ttl_ms + (1 + 4) * Config().heartbeat_ms == Config().node_timeout_ms
    assert Config(HEARTBEAT_MS=100, NODE_TIMEOUT_MS=1000).heartbeat_ttl_ms == 500


def test_the_ratio_of_traces() -> None:
    assert Config().trace_ratio == 0
    assert Config(TRACE_RATIO="0.25").trace_ratio == 0.25
    for wrong in ("-0.1", "1.5", "nan", "all"):
        with pytest.raises(ConfigError, match="TRACE_RATIO"):
            Config(TRACE_RATIO=wrong)
