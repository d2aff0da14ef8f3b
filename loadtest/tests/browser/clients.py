"""Clients for tests, each in a process of its own: the simulated browser and the official JavaScript client."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

KINDS = ["upgrade", *(pytest.param(kind, marks=pytest.mark.ci_only) for kind in ("websocket", "polling"))]
"""One that upgrades does what the two others do."""


async def run(command: list[str], task: dict[str, Any]) -> dict[str, Any]:
    """Runs a script with its task. Returns what it printed, as JSON."""
    process = await asyncio.create_subprocess_exec(
        *command, json.dumps(task), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, errors.decode()
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


async def simulated(url: str, options: dict[str, Any], steps: list[list[Any]]) -> dict[str, Any]:
    command = [sys.executable, "-m", "loadtest.tests.browser.scripted"]
    return await run(command, {"url": url, "options": options, "steps": steps})


async def official(url: str, options: dict[str, Any], steps: list[list[Any]]) -> dict[str, Any]:
    own = Path(sys.executable).parent / "node"
    node = str(own) if own.exists() else shutil.which("node")
    assert node, "no Node: run `make setup`"
    return await run([node, str(HERE / "scripted.mjs")], {"url": url, "options": options, "steps": steps})
