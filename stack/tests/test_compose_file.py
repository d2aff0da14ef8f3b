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


def test_every_setting_is_passed_on():
    block = re.search(r"x-settings:.*?\n\n", _FILE, re.DOTALL)
    assert block is not None
    passed = set(re.findall(r"^  ([A-Z_]+):", block[0], re.MULTILINE))
    passed -= {name for name in passed if name.startswith("OTEL_")}  # OpenTelemetry reads them itself
    assert passed == {name.upper() for name in Config.model_fields} - _FIXED


def test_every_variable_of_the_nginx_template_is_given():
    asked = set(re.findall(r"\$\{(SIO_[A-Z_]+)\}", TEMPLATE.read_text()))
    assert asked == set(re.findall(r"^ +(SIO_[A-Z_]+):", _FILE, re.MULTILINE))


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
