"""The README lists every setting as the code has it, with the kind of node that reads it."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

from sio_cluster.node.settings.config import Config
from sio_cluster.node.settings.table import read_by, with_table

REPOSITORY = Path(__file__).parents[4]
README = REPOSITORY / "README.md"


def test_the_table_of_settings_in_the_readme_is_that_of_the_code() -> None:
    page = README.read_text()
    assert with_table(page) == page, "run: python -m sio_cluster.node.settings.table README.md"


def test_the_table_says_which_kind_of_node_reads_a_setting() -> None:
    shared = _read_in("shared/src")
    io, app = shared | _read_in("services/io-node/src"), shared | _read_in("services/app-node/src")
    bridge = _read_in("services/app-node/src/app_node/bridge")
    app -= {name for name in bridge if name.startswith("bridge_")}
    for name in Config.model_fields:
        kinds = {kind for kind, read in (("io", io), ("app", app)) if name in read}
        if not kinds and name in bridge:
            kinds = {"bridge"}
        assert kinds, f"no node reads {name}"
        assert read_by(name) == ("both" if len(kinds) == 2 else kinds.pop()), name


def _read_in(folder: str) -> set[str]:
    """The settings that the code of this folder reads from a `config` or `settings`."""
    trees = [ast.parse(file.read_text()) for file in (REPOSITORY / folder).rglob("*.py") if file.name != "config.py"]
    read = {name for tree in trees for name in _attributes(tree, ("config", "settings"))}
    return read | {name for one in read for name in _behind(one)}


def _behind(name: str) -> set[str]:
    """The settings that a property of Config is made of."""
    member = inspect.getattr_static(Config, name, None)
    if not isinstance(member, property) or member.fget is None:
        return set()
    return set(_attributes(ast.parse(textwrap.dedent(inspect.getsource(member.fget))), ("self",)))


def _attributes(tree: ast.AST, owners: tuple[str, ...]) -> Iterator[str]:
    """What is asked of an owner: `lanes` for `config.lanes` and for `self.config.lanes`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            if (isinstance(owner, ast.Attribute) and owner.attr in owners) or (
                isinstance(owner, ast.Name) and owner.id in owners
            ):
                yield node.attr
