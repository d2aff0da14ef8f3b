"""Loads an application as a node would, in a process of its own, only to see whether that works.

`python -m sio_stack.probe app|web TARGET` prints one line, APP: or WEB: and the reason, and exits with 2 where it does
not. Nothing else may import this module: it puts the application's folder first on the path.
"""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from sio_stack.settings import StackError

_EXAMPLE = {"app": "path/to/file.py:sio or module:sio", "web": "path/to/file.py:app or module:app"}


def load(kind: str, target: str) -> Any:
    """The object that `target` names. Raises StackError where there is none."""
    place, colon, attribute = target.rpartition(":")
    if not colon or not place or not attribute:
        raise StackError(f"{target!r} is not of the form {_EXAMPLE[kind]}")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found = getattr(module, attribute, None)
    if found is None:
        raise StackError(f"{place} has no {attribute!r}")
    return found


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise StackError(f"there is no file {path}")
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> ModuleType:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise StackError(f"there is no module {name}") from None
        raise


def _explain(error: BaseException) -> str:
    """Where the application failed, and how: one line."""
    name = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {name}: {error.msg}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    where = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    text = " ".join(str(error).split())
    return f"{where}{name}: {text}" if text else f"{where}{name}"


def _is_library(filename: str) -> bool:
    return (
        filename == __file__
        or filename.startswith("<")
        or Path(filename).is_relative_to(sys.prefix)
        or (Path(filename).is_relative_to(sys.base_prefix))
    )


def main() -> None:
    kind, target = sys.argv[1:3]
    try:
        found = load(kind, target)
        if kind == "web" and not callable(found):
            raise StackError(f"{target} is not an ASGI application but {type(found).__name__}")
        if kind == "app" and not hasattr(found, "emit"):
            raise StackError(f"{target} is not what app_node.get_client() returns but {type(found).__name__}")
    except StackError as error:
        _fail(kind, str(error))
    except BaseException as error:  # noqa: BLE001 - whatever an application does at import, SystemExit too, is said
        _fail(kind, _explain(error))


def _fail(kind: str, text: str) -> None:
    print(f"{kind.upper()}: {text}", file=sys.stderr)  # noqa: T201
    sys.exit(2)


if __name__ == "__main__":
    main()
