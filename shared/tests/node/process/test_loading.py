"""Finding what a command line names."""

import sys
from pathlib import Path

import pytest

from sio_cluster.node.process.loading import load_target
from sio_cluster.protocol.errors import TargetBroken, TargetNotFound


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command is run."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return name


def test_a_file_and_what_stands_beside_it(folder: Path) -> None:
    write(folder, "beside_target.py", "value = 7")
    write(folder, "target_one.py", "import beside_target\nclass box:\n    app = beside_target.value")
    assert load_target("target_one.py:box.app") == 7
    assert load_target(f"{folder}/target_one.py:box.app") == 7


def test_a_module_of_this_folder(folder: Path) -> None:
    write(folder, "target_two.py", "app = 8")
    assert load_target("target_two:app") == 8


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nothing", "not of the form module:name"),
        (":app", "not of the form"),
        ("target_three:", "not of the form"),
        ("missing.py:app", "there is no file missing.py"),
        ("no_such_module_here:app", "there is no module 'no_such_module_here'"),
        ("target_three:other", "target_three has no 'other'"),
        ("target_three.py:app.deep", "target_three.py has no 'app.deep'"),
    ],
)
def test_what_is_not_there(folder: Path, target: str, said: str) -> None:
    write(folder, "target_three.py", "app = 1")
    with pytest.raises(TargetNotFound, match=said):
        load_target(target)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", r"broken_0\.py:1: ZeroDivisionError: division by zero$"),
        ("def (:", r"broken_1\.py:1: SyntaxError: "),
        ("import no_such_module_there", r"broken_2\.py:1: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", r"broken_3\.py:1: SystemExit: 3$"),
        ("raise ValueError('two\\nlines')", r"broken_4\.py:1: ValueError: two lines$"),
        ("class Timeout(BaseException): pass\nraise Timeout", r"broken_6\.py:2: Timeout$"),
        ("raise BaseExceptionGroup('two', [SystemExit(1)])", r"broken_7\.py:1: BaseExceptionGroup: two"),
        ("def __getattr__(name): raise SystemExit(4)", r"broken_8\.py:1: SystemExit: 4$"),
        ("import sys\ndel sys.modules[__name__]\nsys.exit(1)", r"broken_9\.py:3: SystemExit: 1$"),
        ("import json\njson.loads('{')", r"broken_5\.py:2: JSONDecodeError: "),
    ],
)
def test_what_is_broken_says_where_in_one_line(
    folder: Path, code: str, said: str, request: pytest.FixtureRequest
) -> None:
    number = said[7]
    name = write(folder, f"broken_{number}.py", code)
    for target in (f"{name}:app", f"broken_{number}:app"):
        with pytest.raises(TargetBroken, match=said) as caught:
            load_target(target)
        assert caught.value.__cause__ is not None


def test_ctrl_c_while_it_is_loaded_passes(folder: Path) -> None:
    name = write(folder, "interrupted.py", "raise KeyboardInterrupt")
    for target in (f"{name}:app", "interrupted:app"):
        with pytest.raises(KeyboardInterrupt):
            load_target(target)
