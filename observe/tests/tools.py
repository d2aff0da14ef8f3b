"""Prometheus and its promtool, as far as they are installed."""

import os
import shutil

import pytest


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`. Skips the test where there is none; fails it in CI."""
    if path := shutil.which(name):
        return path
    message = f"no {name}: install Prometheus (Debian and Ubuntu: apt install prometheus)"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
