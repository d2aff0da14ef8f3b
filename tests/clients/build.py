"""Builds the client programs, each in a folder of its own below .run/clients, which git ignores.

What they need comes from each language's package registry, in pinned versions whose hashes are checked: by go.sum and
package-lock.json, and by checksums.txt for Java, since Maven has no such file. Cargo.toml pins versions only: a
Cargo.lock would name its registry.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

SOURCES = Path(__file__).parent
BUILDS = ROOT / ".run/clients"
LIMIT_S = 400
"""The longest that one command may take. Rust's takes a minute and a half on two processors, others seconds."""


class MissingTool(Exception):
    """This machine lacks a tool of the language. The text says which."""


@dataclass(frozen=True)
class Language:
    """How the programs of a language are built."""

    tools: tuple[str, ...]
    build: Callable[[Path], list[str]]
    """Gets a folder that has the sources. Gives the command that runs the client there."""


def _java(folder: Path) -> list[str]:
    _run(folder, "mvn", "-q", "-B", "-C", "dependency:copy-dependencies", "-DoutputDirectory=lib")
    jars = sorted((folder / "lib").glob("*.jar"))
    found = [f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}" for jar in jars]
    assert found == (folder / "checksums.txt").read_text().splitlines(), "other packages than checksums.txt says"
    _run(folder, "javac", "-encoding", "UTF-8", "-cp", "lib/*", "-d", ".", "Client.java")
    return ["java", "-cp", f"{folder}:{folder}/lib/*", "Client"]


def _javascript(folder: Path) -> list[str]:
    _run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return ["node", str(folder / "client.mjs")]


def _go(folder: Path) -> list[str]:
    _run(folder, "go", "build", "-mod=readonly", "-o", "client", ".")
    return [str(folder / "client")]


def _rust(folder: Path) -> list[str]:
    _run(folder, "cargo", "build", "--quiet")
    return [str(folder / "target/debug/client")]


LANGUAGES = {
    "java": Language(("java", "javac", "mvn"), _java),
    "javascript": Language(("node", "npm"), _javascript),
    "go": Language(("go",), _go),
    "rust": Language(("cargo",), _rust),
}


@cache
def command(name: str) -> list[str]:
    """The command of this client, built if need be. Raises MissingTool."""
    language = LANGUAGES[name]
    missing = [tool for tool in language.tools if shutil.which(tool, path=_path()) is None]
    if missing:
        raise MissingTool(f"no {', no '.join(missing)} on this machine")
    folder = BUILDS / name
    shutil.copytree(SOURCES / name, folder, dirs_exist_ok=True)
    return language.build(folder)


def environment() -> dict[str, str]:
    """That of the clients: the Node of the project's own environment is found first."""
    return os.environ | {"PATH": _path()}


def _path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def _run(folder: Path, *words: str) -> None:
    done = subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
