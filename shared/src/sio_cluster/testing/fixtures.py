"""pytest fixtures for tests that need a real server. Loaded for all tests by the root's pyproject.toml."""

import itertools
import os
from collections.abc import Iterator

import pytest
from redis import Redis

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis.rights import RIGHTS
from sio_cluster.testing.configs import config_of
from sio_cluster.testing.valkey import Valkey, start_valkey

_prefixes = itertools.count(1)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """One server for all tests of the session. Tests that pause or stop it start one of their own."""
    with start_valkey() as server:
        yield server


@pytest.fixture(scope="session")
def node_url(valkey: Valkey) -> str:
    """That server, for a user who has the rights that docs/operations.md asks for, and no others."""
    with Redis.from_url(valkey.url) as owner:
        owner.execute_command("ACL", "SETUSER", "node", "on", ">secret", f"~t{os.getpid()}.*", *RIGHTS.split())
    return f"redis://node:secret@127.0.0.1:{valkey.port}/0"


@pytest.fixture
def redis_config(node_url: str) -> Config:
    """A configuration whose keys no other test has, for a node that has no more rights than it needs."""
    prefix = f"t{os.getpid()}.{next(_prefixes)}"
    return config_of(REDIS_URL=node_url).model_copy(update={"redis_prefix": prefix})
