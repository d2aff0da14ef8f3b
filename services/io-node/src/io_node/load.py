"""Finding the application that an io-node is attached to."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import cast

from io_node.front import AsgiApp
from sio_cluster.protocol.errors import ConfigError


def load_app(target: str) -> AsgiApp:
    """The object that `module:name` or `path/to/file.py:name` names.

    Raises ConfigError, in one line, where there is none, where it is no ASGI application, or where its file fails.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise ConfigError(f"--app: {target!r} is not of the form module:app or path/to/file.py:app")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"--app: {_explain(error)}") from error
    found = getattr(module, name, None)
    if found is None:
        raise ConfigError(f"--app: {place} has no {name!r}")
    if not callable(found):
        raise ConfigError(f"--app: {target} is not an ASGI application but {type(found).__name__}")
    return cast(AsgiApp, found)


def _load_file(path: Path) -> ModuleType:
    """As `python path` would: its folder comes first on the path."""
    if not path.is_file():
        raise ConfigError(f"--app: there is no file {path}")
    sys.path.insert(0, str(path.resolve().parent))
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
            raise ConfigError(f"--app: there is no module {name}") from None
        raise


def _explain(error: BaseException) -> str:
    """Where it failed, and how."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {kind}: {error.msg}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    where = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    text = " ".join(str(error).split())
    return f"{where}{kind}: {text}" if text else f"{where}{kind}"


def _is_library(filename: str) -> bool:
    path = Path(filename)
    library = path.is_relative_to(sys.prefix) or path.is_relative_to(sys.base_prefix)
    return library or filename == __file__ or filename.startswith("<")
