"""The fixtures of scenarios, and how they are tried and shown."""

import pytest
from tests.chaos.scenarios import result, seed, show_scenarios

__all__ = ["result", "seed"]


def pytest_configure(config: pytest.Config) -> None:
    show_scenarios(config)
