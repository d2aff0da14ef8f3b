"""Makes applications and clients for these tests."""

from typing import Any

import pytest

from .returning import Application, Returning


@pytest.fixture
def application(stage: Any) -> Any:
    return lambda **options: Application(stage, **options)


@pytest.fixture
def returning() -> Any:
    return Returning
