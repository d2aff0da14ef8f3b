"""Which form of the hot modules this process runs. It is decided when the first of them is imported."""

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from sio_cluster.compiled.modules import HOT
from sio_cluster.compiled.sources import find_packages, key_of

LIBRARY = "__mypyc"
"""How the name of the extension ends that has the code of all modules. The module's own extension only refers to it."""


class Form(NamedTuple):
    """`files` has the extension of each compiled module, by its name. Without any, `pure_because` says why."""

    files: Mapping[str, Path]
    pure_because: str = ""

    @property
    def is_compiled(self) -> bool:
        return bool(self.files)

    def __str__(self) -> str:
        return "yes" if self.files else f"no: {self.pure_because}"


class Finder(MetaPathFinder):
    """Finds the extensions of hot modules. `form` is asked at the first one."""

    def __init__(self, hot: Mapping[str, Sequence[str]], form: Callable[[], Form]) -> None:
        self._names = {f"{package}.{module}" for package, modules in hot.items() for module in modules}
        self._form = form

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        file = self._form().files.get(fullname)
        return None if file is None else importlib.util.spec_from_file_location(fullname, file)


def install() -> None:
    """From now on, whoever imports a hot module gets it in the form that `running_form` says."""
    sys.meta_path.insert(0, Finder(HOT, running_form))


@cache
def running_form() -> Form:
    """That of this process. The first call looks, and later ones say the same."""
    return find_form(find_packages(HOT), forms_folder(), os.environ.get("SIO_PURE", ""))


def forms_folder() -> Path:
    """Where compiled forms are: in the virtual environment, where the packages are installed too."""
    return Path(sys.prefix, "lib", "sio_compiled")


def find_form(packages: Mapping[str, Path], forms: Path, wants_pure: str) -> Form:
    """The form in the folder `forms` that belongs to the sources of these packages, if it can be loaded.

    `wants_pure` is the setting SIO_PURE: anything but nothing and 0 asks for the pure form.
    """
    if wants_pure not in ("", "0"):
        return Form({}, "SIO_PURE is set")
    if not forms.is_dir():
        return Form({}, "nothing was compiled")
    files = files_in(forms / key_of(packages))
    if not files:
        return Form({}, "a source has changed since it was compiled")
    try:
        _load_library(files)
    except ImportError as error:
        return Form({}, f"cannot be loaded: {error}")
    return Form(files)


def files_in(form: Path) -> dict[str, Path]:
    """The extensions in the folder of one form, by the names of their modules. Empty where there is no such folder."""
    suffix = EXTENSION_SUFFIXES[0]
    paths = form.rglob(f"*{suffix}")
    return {".".join(path.relative_to(form).parts).removesuffix(suffix): path for path in paths}


def _load_library(files: Mapping[str, Path]) -> None:
    """Raises ImportError where this machine cannot run it, such as one with an older C library."""
    for name, path in files.items():
        if name.endswith(LIBRARY):
            loader = ExtensionFileLoader(name, str(path))
            spec = importlib.util.spec_from_file_location(name, path, loader=loader)
            assert spec is not None
            library = importlib.util.module_from_spec(spec)
            loader.exec_module(library)
            sys.modules[name] = library  # where the modules' own extensions look for it
