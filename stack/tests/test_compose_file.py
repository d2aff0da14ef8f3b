"""docker-compose.yml passes every setting on that is the user's to choose."""

import re

from sio_cluster.node.config import Config
from sio_stack.front_door import TEMPLATE
from sio_stack.settings import REPOSITORY

# Compose itself says where things are; an io-node's name is its container's.
_FIXED = {"HTTP_HOST", "HTTP_PORT", "REDIS_PORT", "REDIS_URL", "NODE_NAME", "HEALTH_PORT", "CLIENT_DIST_DIR"}
_FILE = (REPOSITORY / "docker-compose.yml").read_text()


def test_every_setting_is_passed_on():
    block = re.search(r"x-settings:.*?\n\n", _FILE, re.DOTALL)
    assert block is not None
    passed = set(re.findall(r"^  ([A-Z_]+):", block[0], re.MULTILINE))
    assert passed == {name.upper() for name in Config.model_fields} - _FIXED


def test_every_variable_of_the_nginx_template_is_given():
    asked = set(re.findall(r"\$\{(SIO_[A-Z_]+)\}", TEMPLATE.read_text()))
    assert asked == set(re.findall(r"^ +(SIO_[A-Z_]+):", _FILE, re.MULTILINE))
