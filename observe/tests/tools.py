"""Prometheus and its promtool, as far as they are installed."""

import os
import shutil
import subprocess

import pytest

PROMTOOL_S = 500.0
"""To let all alarms ring takes it 9 s of CPU, which took more than 120 s beside thirty other processes."""


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`. Skips the test where there is none; fails it in CI."""
    if path := shutil.which(name):
        return path
    message = f"no {name}: install Prometheus (Debian and Ubuntu: apt install prometheus)"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def promtool(*words: str, stdin: bytes = b"") -> None:
    """Fails with what it prints, unless it has nothing to complain of."""
    done = subprocess.run([tool("promtool"), *words], input=stdin, capture_output=True, check=False, timeout=PROMTOOL_S)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
