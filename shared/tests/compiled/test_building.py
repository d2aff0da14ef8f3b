"""A tiny package is compiled, imported, edited; and what happens where the compiler is missing or broken."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sio_cluster.compiled import building
from sio_cluster.compiled.__main__ import main
from sio_cluster.compiled.building import NotCompiled, build, compiler, is_built
from sio_cluster.compiled.form import Finder, find_form
from sio_cluster.compiled.sources import key_of

HOT = {"tiny_of_tests": ("hot",)}
COMPILES = pytest.mark.ci_only
"""Each of these runs mypyc. Who calls `make compile` has that tested by `make test-compiled`."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("installed") / "tiny_of_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "hot.py").write_text(
        "from tiny_of_tests.cold import FACTOR\n\n\ndef times(number: int) -> int:\n    return FACTOR * number\n"
    )
    (folder / "cold.py").write_text("FACTOR: int = 3\n")
    yield {"tiny_of_tests": folder}
    for name in [name for name in sys.modules if name.startswith("tiny_of_tests")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def forms(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it was compiled to."""
    forms = tmp_path_factory.mktemp("forms")
    (forms / "of-older-sources").mkdir()
    build(packages, HOT, forms, os.environ)
    return forms


@COMPILES
def test_what_was_compiled_is_imported_in_the_place_of_its_source(
    packages: dict[str, Path], forms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = find_form(packages, forms, "")
    assert str(form) == "yes"
    monkeypatch.syspath_prepend(packages["tiny_of_tests"].parent)
    monkeypatch.setattr(sys, "meta_path", [Finder(HOT, lambda: form), *sys.meta_path])
    hot = importlib.import_module("tiny_of_tests.hot")
    assert hot.times(5) == 15
    with pytest.raises(TypeError):
        hot.times("5")  # a source would not mind
    assert importlib.import_module("tiny_of_tests.cold").__file__ == str(packages["tiny_of_tests"] / "cold.py")


@COMPILES
def test_a_form_of_older_sources_is_removed(packages: dict[str, Path], forms: Path) -> None:
    assert [path.name for path in forms.iterdir()] == [key_of(packages)]


@COMPILES
def test_an_edited_source_is_not_shadowed(packages: dict[str, Path], forms: Path) -> None:
    source = packages["tiny_of_tests"] / "hot.py"
    before = source.read_text()
    source.write_text(before.replace("FACTOR * number", "number"))
    assert not find_form(packages, forms, "").is_compiled
    assert not is_built(packages, forms)
    source.write_text(before)
    assert find_form(packages, forms, "").is_compiled
    assert is_built(packages, forms)


@COMPILES
def test_what_is_there_is_not_compiled_again_but_for_another_mypy(
    packages: dict[str, Path], forms: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(packages, HOT, forms, {"CC": "no-such-compiler"}) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(building, "version", lambda package: "0.1")
    assert main(packages, HOT, forms, {"CC": "no-such-compiler"}) == 1


@COMPILES
def test_a_broken_compiler_leaves_the_pure_form_and_says_so(
    packages: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho this compiler is broken\nexit 1\n")
    broken.chmod(0o755)
    assert main(packages, HOT, tmp_path / "forms", {**os.environ, "CC": str(broken)}) == 1
    said = capsys.readouterr().err
    assert "not compiled, so nodes run the pure form: the compiler failed" in said
    assert "this compiler is broken" in said
    assert str(find_form(packages, tmp_path / "forms", "")) == "no: nothing was compiled"


@COMPILES
def test_a_source_that_mypyc_refuses_leaves_the_pure_form_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/hot.py").write_text("A: int = 'text'\n")
    with pytest.raises(NotCompiled, match="Incompatible types in assignment"):
        build({"odd": tmp_path / "odd"}, {"odd": ("hot",)}, tmp_path / "forms", os.environ)


def test_without_any_compiler_it_says_which_ones_will_do(
    packages: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(packages, HOT, tmp_path, {"PATH": "", "CC": "no-such-compiler"}) == 1
    assert "no C compiler no-such-compiler was found. One of these will do: gcc" in capsys.readouterr().err


def test_the_compiler_of_ziglang_is_taken_where_the_machine_has_none() -> None:
    assert compiler({"PATH": ""}, has_ziglang=True)["CC"].endswith("-m ziglang cc")
    with pytest.raises(NotCompiled):
        compiler({"PATH": ""}, has_ziglang=False)


def test_without_the_tools_it_says_which_ones_are_missing(
    packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "TOOLS", ("mypy", "no_such_tool"))
    with pytest.raises(NotCompiled, match="no_such_tool not installed"):
        build(packages, HOT, tmp_path, os.environ)


def test_where_it_may_not_write_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "form").mkdir()
    with pytest.raises(NotCompiled, match="cannot write to"):
        building._keep(tmp_path / "form", tmp_path / "file" / "forms", "key")
