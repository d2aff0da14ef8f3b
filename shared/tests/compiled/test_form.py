"""Which form runs: the compiled one of these very sources, or the pure one, and why."""

import ast
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from sio_cluster.compiled.form import Finder, Form, find_form, running_form
from sio_cluster.compiled.modules import HOT
from sio_cluster.compiled.sources import find_packages, key_of

SUFFIX = EXTENSION_SUFFIXES[0]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "hot.py").write_text("A = 1\n")
    return folder


def test_these_tests_run_in_the_form_that_was_asked_for() -> None:
    """With SIO_PURE=0 in the compiled one, which must have been built; else in the pure one."""
    form = running_form()
    assert form.is_compiled == (os.environ["SIO_PURE"] in ("", "0")), str(form)


def test_without_a_compiled_form_the_pure_one_runs(package: Path, tmp_path: Path) -> None:
    assert str(find_form({"tiny": package}, tmp_path / "forms", "")) == "no: nothing was compiled"


@pytest.mark.parametrize(("name", "text"), [("hot.py", "A = 2\n"), ("other.py", "")])
def test_after_a_source_has_changed_the_pure_form_runs(package: Path, tmp_path: Path, name: str, text: str) -> None:
    """Also after one that is not compiled: those that are rely on its types."""
    library = tmp_path / "forms" / key_of({"tiny": package}) / f"x__mypyc{SUFFIX}"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"no library")
    assert "cannot be loaded" in find_form({"tiny": package}, tmp_path / "forms", "").pure_because
    (package / name).write_text(text)
    assert str(find_form({"tiny": package}, tmp_path / "forms", "")) == "no: a source has changed since it was compiled"


@pytest.mark.parametrize("value", ["1", "yes"])
def test_sio_pure_asks_for_the_pure_form(package: Path, tmp_path: Path, value: str) -> None:
    assert str(find_form({"tiny": package}, tmp_path, value)) == "no: SIO_PURE is set"


def test_of_a_package_only_the_hot_modules_are_looked_for(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}{SUFFIX}" for name in ("tiny.hot", "tiny.cold")}
    finder = Finder({"tiny": ["hot", "new"]}, lambda: Form(files))
    spec = finder.find_spec("tiny.hot")
    assert spec is not None
    assert spec.origin == str(files["tiny.hot"])
    assert finder.find_spec("tiny.cold") is None
    assert finder.find_spec("tiny.new") is None


def test_the_form_is_not_decided_before_a_hot_module_is_imported() -> None:
    def decide() -> Form:
        raise AssertionError

    assert Finder({"tiny": ["hot"]}, decide).find_spec("tiny") is None


def test_a_package_that_is_not_installed_has_no_folder() -> None:
    assert find_packages(["sio_cluster", "no_such_package"]).keys() == {"sio_cluster"}


@pytest.mark.parametrize(
    ("package", "module"), [(package, module) for package, modules in HOT.items() for module in modules]
)
def test_a_hot_module_is_there_and_has_no_coroutine(package: str, module: str) -> None:
    source = find_packages([package])[package].joinpath(*module.split(".")).with_suffix(".py").read_text()
    assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(ast.parse(source)))


def test_the_hot_modules_are_in_the_order_of_the_alphabet() -> None:
    for modules in HOT.values():
        assert list(modules) == sorted(modules)
