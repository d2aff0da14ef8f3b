"""Settings for tests."""

import functools
from typing import Any

from sio_cluster.node.settings.config import Config


@functools.cache
def config_of(**settings: Any) -> Config:
    """`Config(**settings)`, made once for all tests: nothing changes it, and to read all settings takes 4 ms."""
    return Config(**settings)
