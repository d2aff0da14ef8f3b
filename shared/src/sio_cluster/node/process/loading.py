"""Finding the object that a command line names: `module:name` or `path/to/file.py:name`."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from sio_cluster.protocol.errors import TargetBroken, TargetNotFound


def load_target(target: str) -> Any:
    """The object that `module:name` or `path/to/file.py:name` names. `name` may have dots.

    Raises TargetNotFound or TargetBroken, each with a message of one line. Whatever the application raises while it is
    loaded, SystemExit included, is TargetBroken. Only KeyboardInterrupt passes through.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise TargetNotFound(f"{target!r} is not of the form module:name or path/to/file.py:name")
    found: Any = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise TargetNotFound(f"{place} has no {name!r}") from None
        except BaseException as error:  # a module's own `__getattr__`, or a property
            raise _broken(error) from error
    return found


def _load_file(path: Path) -> ModuleType:
    """A file outside any package. It imports from its own folder first, as with `python file.py`."""
    if not path.is_file():
        raise TargetNotFound(f"there is no file {path}")
    path = path.resolve()
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise TargetNotFound(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(path.stem, None)  # half a module
        raise _broken(error) from error
    return module


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise TargetNotFound(f"there is no module {error.name!r}") from error
        raise _broken(error) from error
    except BaseException as error:  # the application's own error, which may be any
        raise _broken(error) from error


def _broken(error: BaseException) -> TargetBroken:
    """What to raise where the application raised `error`. Raises KeyboardInterrupt itself."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    return TargetBroken(_where(error))


def _where(error: BaseException) -> str:
    """`file:line: error`, of the last line that was the application's own; without a place where there is none."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {kind}: {error.msg}"
    text = " ".join(str(error).split())
    said = f"{kind}: {text}" if text else kind
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    return f"{own[-1].filename}:{own[-1].lineno}: {said}" if own else said


def _is_library(filename: str) -> bool:
    path = Path(filename)
    installed = path.is_relative_to(sys.prefix) or path.is_relative_to(sys.base_prefix)
    return installed or filename == __file__ or filename.startswith("<")
