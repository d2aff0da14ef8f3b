"""pytest fixtures for tests that need a real server. Loaded for all tests by the root's pyproject.toml."""

import itertools
import os
from collections.abc import Iterator

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.testing.valkey import Valkey, start_valkey

_prefixes = itertools.count(1)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """One server for all tests of the session. Tests that pause or stop it start one of their own."""
    with start_valkey() as server:
        yield server


@pytest.fixture
def redis_config(valkey: Valkey) -> Config:
    """A configuration whose keys no other test has."""
    return Config(REDIS_URL=valkey.url, REDIS_PREFIX=f"t{os.getpid()}.{next(_prefixes)}")
