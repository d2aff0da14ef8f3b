"""Finding the server object that the command line names."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from sio_cluster.protocol.errors import ConfigError


class AppNotFound(ConfigError):
    """No such file, module or attribute, or it is no server object. The message is one line."""


class AppBroken(ConfigError):
    """The application's own code failed. The message is one line, `file:line: error`; the cause is the error itself."""


def load(target: str) -> Any:
    """The object that `module:name` or `path/to/file.py:name` names. Raises AppNotFound or AppBroken."""
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise AppNotFound(f"{target!r} is not of the form module:name or path/to/file.py:name")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise AppNotFound(f"{place} has no {name!r}")
        found = getattr(found, part)
    return found


def _load_file(path: Path) -> ModuleType:
    """A file outside any package; its folder is where it imports from, as with `python file.py`."""
    if not path.is_file():
        raise AppNotFound(f"there is no file {path}")
    path = path.resolve()
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise AppNotFound(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise AppBroken(_where(error, path)) from error
    return module


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise AppNotFound(f"there is no module {error.name!r}") from error
        raise AppBroken(_where(error, None)) from error
    except Exception as error:
        raise AppBroken(_where(error, None)) from error


def _where(error: Exception, path: Path | None) -> str:
    """`file:line: error`, of the latest line in the application's file, or of the latest line at all."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    own = [frame for frame in frames if path is not None and frame.filename == str(path)]
    frame = next(iter(reversed(own or [f for f in frames if f.filename != __file__] or frames)), None)
    first_line = text.splitlines()[0]
    return first_line if frame is None else f"{frame.filename}:{frame.lineno}: {first_line}"
