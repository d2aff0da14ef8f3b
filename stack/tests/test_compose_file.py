"""docker-compose.yml passes every setting on that is the user's to choose."""

import json
import re
import shutil
import subprocess

import pytest

from sio_cluster.node.settings.config import Config
from sio_stack.front_door import TEMPLATE
from sio_stack.settings import REPOSITORY

# Compose itself says where things are; an io-node's name is its container's.
_FIXED = {"HTTP_HOST", "HTTP_PORT", "REDIS_PORT", "REDIS_URL", "NODE_NAME", "HEALTH_PORT", "CLIENT_DIST_DIR",
          "API_PORT", "API_KEYS_FILE"}  # fmt: skip
_FILE = (REPOSITORY / "docker-compose.yml").read_text()
_SETTINGS, _SERVICES = _FILE[_FILE.index("x-settings:") :].split("\n\n", 1)
# Not in Config: OpenTelemetry reads its own, and SIO_PURE is read before anything is imported.
_READ_BY_OTHERS = {name for name in re.findall(r"^  ([A-Z_]+):", _SETTINGS, re.MULTILINE)
                   if name.startswith("OTEL_") or name == "SIO_PURE"}  # fmt: skip


def test_every_setting_is_passed_on():
    assert _passed() - _READ_BY_OTHERS == {name.upper() for name in Config.model_fields} - _FIXED


def test_what_the_docs_tell_of_besides_settings_is_passed_on():
    table = (
        (REPOSITORY / "docs/tracing.md").read_text().partition("## Settings of OpenTelemetry")[2].partition("## ")[0]
    )
    of_tracing = set(re.findall(r"^\| `(OTEL_[A-Z_]+)`", table, re.MULTILINE))
    assert of_tracing
    assert _passed() & _READ_BY_OTHERS == (of_tracing | {"SIO_PURE"}) - {"OTEL_SERVICE_NAME"}


def _passed():
    return set(re.findall(r"^  ([A-Z_]+):", _SETTINGS, re.MULTILINE))


def test_every_variable_of_the_nginx_template_is_given():
    asked = set(re.findall(r"\$\{(SIO_[A-Z_]+)\}", TEMPLATE.read_text()))
    assert asked == set(re.findall(r"^ +(SIO_[A-Z_]+):", _SERVICES, re.MULTILINE))


def test_the_readmes_override_puts_ones_own_code_in_the_place_of_the_chat(tmp_path):
    """Compose itself joins the two files. That needs its command, but no Docker that runs."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run((docker, "compose", "version"), capture_output=True, check=False).returncode:
        pytest.skip("no docker compose here")
    override = re.search(r"^```yaml\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert override is not None
    (tmp_path / "override.yml").write_text(override[1])
    files = ("-f", "docker-compose.yml", "-f", str(tmp_path / "override.yml"))
    words = (docker, "compose", *files, "config", "--format", "json")
    joined = subprocess.run(words, cwd=REPOSITORY, capture_output=True, check=False)
    assert joined.returncode == 0, joined.stderr
    services = json.loads(joined.stdout)["services"]
    assert services["app-node"]["command"] == ["/code/app.py:sio"]
    assert services["io-node"]["command"] == ["--app", "/code/web.py:app"]
    for name in ("app-node", "io-node"):
        [mounted] = services[name]["volumes"]
        assert (mounted["source"], mounted["target"], mounted["read_only"]) == ("/path/to/your/code", "/code", True)
        assert services[name]["environment"]["REDIS_HOST"] == "redis"
