"""Makes applications and clients for these tests."""

from typing import Any

import pytest

from .returning import Application, Returning, Takeover


@pytest.fixture
def application(stage: Any) -> Any:
    return lambda **options: Application(stage, **options)


@pytest.fixture
def returning() -> Any:
    return Returning


@pytest.fixture
async def takeover(stage: Any, application: Any, kill: Any) -> Takeover:
    first, second, home = application(), application(), await stage.io_node("io1")
    client = Returning(home)
    await first.sio.start()
    await client.come()
    await home.settle()
    return Takeover(first, second, home, client, kill)
