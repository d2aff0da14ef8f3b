"""Compiles the hot modules into the folder where `form` looks for them."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from sio_cluster.compiled.sources import key_of

COMPILER = "gcc (Debian and Ubuntu: apt install gcc python3-dev), clang, or the Python package ziglang"
TOOLS = ("mypy", "mypyc", "setuptools")
_LAST_LINES = 15
_MADE_BY = "made-by.txt"


class NotCompiled(Exception):
    """There is no compiled form, and the pure one runs. The message says why, and what helps."""


def is_built(packages: Mapping[str, Path], forms: Path) -> bool:
    """Whether the form of these sources is there, made by the compiler that is installed."""
    made_by = forms / key_of(packages) / _MADE_BY
    return made_by.is_file() and _has("mypy") and made_by.read_text() == _compiled_by()


def build(
    packages: Mapping[str, Path], hot: Mapping[str, Sequence[str]], forms: Path, environ: Mapping[str, str]
) -> None:
    """Compiles the hot modules of these packages, and removes forms of other sources. Processes that run keep theirs.

    Raises NotCompiled where it does not succeed. Then what was there stays.
    """
    _require_tools()
    key = key_of(packages)
    modules = [f"{package}.{module}" for package in packages for module in hot[package]]
    with tempfile.TemporaryDirectory(prefix="sio-compiled-") as work:
        sources, form = Path(work, "sources"), Path(work, "form")
        for name, package in packages.items():
            shutil.copytree(package, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        _translate(modules, sources, form, {**environ, **compiler(environ, _has("ziglang"))})
        (form / _MADE_BY).write_text(_compiled_by())
        _keep(form, forms, key)


def compiler(environ: Mapping[str, str], has_ziglang: bool) -> dict[str, str]:
    """The environment by which setuptools finds a C compiler. CC names one of the user's choice.

    `has_ziglang`: whether the Python package is here, which has one. Raises NotCompiled where there is none.
    """
    chosen = environ.get("CC") or sysconfig.get_config_var("CC") or ""
    if chosen and shutil.which(shlex.split(chosen)[0], path=environ.get("PATH")):
        return {}
    command = next((name for name in ("cc", "gcc", "clang") if shutil.which(name, path=environ.get("PATH"))), None)
    if command is None and has_ziglang:
        command = f"{shlex.quote(sys.executable)} -m ziglang cc"
    if environ.get("CC") or command is None:
        raise NotCompiled(f"no C compiler{' ' * bool(chosen)}{chosen} was found. One of these will do: {COMPILER}")
    shared = "-bundle -undefined dynamic_lookup" if sys.platform == "darwin" else "-shared"
    return {"CC": command, "LDSHARED": f"{command} {shared}"}


def _require_tools() -> None:
    missing = [name for name in TOOLS if not _has(name)]
    if missing:
        raise NotCompiled(f"{' and '.join(missing)} not installed (requirements/compile.txt has what is needed)")


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _compiled_by() -> str:
    return f"mypy {version('mypy')}\n"


def _translate(modules: Sequence[str], sources: Path, form: Path, environ: Mapping[str, str]) -> None:
    """Makes the extensions, and tries whether they can be imported."""
    files = [f"{module.replace('.', '/')}.py" for module in modules]
    _run([sys.executable, "-m", "sio_cluster.compiled.translating", str(form), *files], sources, environ)
    shutil.copytree(form, sources, dirs_exist_ok=True)  # beside its source Python takes the extension
    _run([sys.executable, "-c", f"import {', '.join(modules)}"], sources, {**environ, "SIO_PURE": "1"})


def _run(command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-_LAST_LINES:])
        raise NotCompiled(f"the compiler failed. The end of what it said:\n{said}")


def _keep(form: Path, forms: Path, key: str) -> None:
    """Lays the form where it is looked for, at once and whole."""
    try:
        forms.mkdir(parents=True, exist_ok=True)
        old = list(forms.iterdir())
        new = forms / f"{key}.{os.getpid()}"
        shutil.copytree(form, new)
        for path in old:
            shutil.rmtree(path)
        new.rename(forms / key)
    except OSError as error:
        raise NotCompiled(f"cannot write to {forms}: {error.strerror}") from error
