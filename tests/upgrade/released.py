"""The last release: the commit that `released.txt` names, exported into a folder, and run from there."""

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import ROOT

COMMIT = Path(__file__).with_name("released.txt").read_text().strip()
SOURCES = ("shared/src", "services/io-node/src", "services/app-node/src")
_LOOK = """
import json, app_node, io_node, sio_cluster
from sio_cluster.protocol import messages
files = [module.__file__ for module in (app_node, io_node, sio_cluster)]
print(json.dumps([files, getattr(messages, "LEVEL", 1)]))
"""


@dataclass(frozen=True)
class Released:
    """`env`: what makes a node run the release. `level`: the `protocol.messages.LEVEL` that the release understands."""

    env: dict[str, str]
    level: int


def export(into: Path) -> Released:
    """Writes the packages of the release into this folder. Skips the test where this clone does not have the commit.

    Raises AssertionError if Python would import another code than that.
    """
    here = subprocess.run(["git", "cat-file", "-e", f"{COMMIT}^{{tree}}"], cwd=ROOT, capture_output=True, check=False)
    if here.returncode != 0:
        pytest.skip(f"this clone does not have the release {COMMIT[:12]}: `git fetch --unshallow` brings it")
    archive = subprocess.run(["git", "archive", COMMIT, *SOURCES], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(into, filter="data")
    env = {"PYTHONPATH": os.pathsep.join(str(into / source) for source in SOURCES)}
    said = subprocess.run(
        [sys.executable, "-c", _LOOK], cwd=ROOT, env=os.environ | env, capture_output=True, check=True, text=True
    )
    imported, level = json.loads(said.stdout)
    strange = [file for file in imported if not Path(file).is_relative_to(into)]
    assert not strange, f"the release is in {into}, and Python imports {strange}"
    return Released(env, level)
